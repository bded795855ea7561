;; Blocks, loops and ifs that take parameters: their types stay, only the function's outermost label changes hands.
(module
  (func $f (param $n i32) (result i32)
    local.get $n
    block (param i32) (result i32)
      loop (param i32) (result i32)
        i32.const 1
        i32.sub
        local.tee $n
        local.get $n
        i32.const 5
        i32.gt_s
        br_if 0 ;; back to the head, with the parameter
        local.get $n
        if (param i32) (result i64)
          i64.extend_i32_u
        else
          br 3 ;; the function, with the if's own parameter as the result
        end
        i32.wrap_i64
      end
    end
    i32.const 100
    i32.add)
  (func (export "run") (result i32) (call $f (i32.const 9)))
  (func (export "run_leaves") (result i32) (call $f (i32.const 1))))
