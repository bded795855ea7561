;; `memory.grow` of another memory is left alone, while memory 0 beside it is hooked.
(module
  (memory $first 1 8)
  (memory $second 2 8)
  (func $grow_second (param i32) (result i32)
    local.get 0
    memory.grow $second)
  (func $grow_both (result i32)
    i32.const 1
    memory.grow $first
    i32.const 2
    memory.grow $second
    i32.add)
  (func (export "run") (result i32)
    (call $grow_second (i32.const 1))
    call $grow_both
    memory.size $first
    memory.size $second
    i32.mul
    i32.add
    i32.add))
