;; `return` drops what lies below its results; the branch that replaces it does the same.
(module
  (func $one (param $x i32) (result i32)
    f64.const 1.5
    i64.const 2
    i32.const 3 ;; below the result, dropped
    local.get $x
    return)
  (func $two_deep_down (param $x i32) (result i32 i64)
    i32.const 111
    block (result f32)
      i64.const 222
      loop (result f32)
        local.get $x
        i64.const 333
        return
      end
      unreachable
    end
    unreachable)
  (func $none (param $x i32)
    i32.const 1
    i64.const 2
    local.get $x
    br_if 0
    return)
  (func (export "run") (result i32) (call $one (i32.const 5)))
  (func (export "run_two") (result i32 i64) (call $two_deep_down (i32.const 6)))
  (func (export "run_none") (call $none (i32.const 0)) (call $none (i32.const 1))))
