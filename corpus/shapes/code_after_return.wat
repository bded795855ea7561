;; Code after a `return` is dead, yet it holds calls whose indices move like any other.
(module
  (func $callee (param i32) (result i32)
    local.get 0
    i32.const 1
    i32.add)
  (func $f (result i32)
    i32.const 1
    return
    i32.const 2
    call $callee
    block (result i32)
      i32.const 3
      return
      i32.const 4
      call $callee
    end
    i32.add
    drop
    ref.func $callee
    drop
    i32.const 5
    return_call $callee)
  (elem declare func $callee)
  (func (export "run") (result i32) (call $f)))
