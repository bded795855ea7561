;; `memory.grow` in dead code: its operand comes from nowhere, and whatever stands around it must accept that.
(module
  (memory 1 2)
  (func $after_return (result i32)
    memory.size
    return
    memory.grow
    memory.grow)
  (func $after_br (result i32)
    block (result i32)
      memory.size
      br 0
      memory.grow
    end)
  (func $after_unreachable (param i32)
    local.get 0
    if
      unreachable
      memory.grow
      drop
    end)
  (func (export "run") (result i32)
    (call $after_unreachable (i32.const 0))
    call $after_return
    call $after_br
    i32.add)
  (func (export "run_trap")
    (call $after_unreachable (i32.const 1))))
