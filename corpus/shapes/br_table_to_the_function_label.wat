;; `br_table` names the function's label in the middle of its list and as its default.
(module
  (func $in_the_list (param $x i32) (result i32)
    block $a (result i32)
      block $b (result i32)
        i32.const 100
        local.get $x
        br_table $b 2 $a ;; 1 leaves the function
      end
      i32.const 1
      i32.add
    end
    i32.const 10
    i32.add)
  (func $as_the_default (param $x i32)
    block $a
      local.get $x
      br_table $a 1
    end
    global.get $count
    i32.const 1
    i32.add
    global.set $count)
  ;; An empty list: only the default, and it is the function.
  (func $default_alone (param $x i32) (result i64)
    i64.const 5
    local.get $x
    br_table 0)
  (global $count (mut i32) (i32.const 0))
  (func (export "run_0") (result i32) (call $in_the_list (i32.const 0)))
  (func (export "run_1") (result i32) (call $in_the_list (i32.const 1)))
  (func (export "run_2") (result i32) (call $in_the_list (i32.const 2)))
  (func (export "run_default") (result i32)
    (call $as_the_default (i32.const 0))
    (call $as_the_default (i32.const 1))
    (call $as_the_default (i32.const -1))
    (global.get $count))
  (func (export "run_default_alone") (result i64) (call $default_alone (i32.const 9))))
