;; Where the stack is polymorphic `return` is still rewritten, although nothing lies on the stack.
(module
  (func $after_unreachable (param i32) (result i32 i64)
    local.get 0
    if
      unreachable
      return ;; takes both results from nowhere
    end
    i32.const 1
    i64.const 2)
  (func $after_br (result i32)
    block
      i32.const 3
      br 1
      f32.const 0 ;; one operand too many is allowed to lie below
      i32.const 4
      return
    end
    unreachable
    return
    return)
  (func $after_return (result i32)
    i32.const 5
    return
    return)
  (func (export "run") (result i32) (call $after_br))
  (func (export "run_again") (result i32) (call $after_return))
  (func (export "run_two") (result i32 i64) (call $after_unreachable (i32.const 0)))
  (func (export "run_trap") (result i32 i64) (call $after_unreachable (i32.const 1))))
