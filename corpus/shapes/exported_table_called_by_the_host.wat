;; The host calls back through the exported table: functions reached only that way are hooked, and the stack runs through the host.
(module
  (import "env" "call_table" (func $call_table (param i32)))
  (import "env" "ping" (func $ping (param i32) (result i32)))
  (table (export "table") 4 funcref)
  (elem (i32.const 0) func $bump $again $traps)
  (global $n (mut i32) (i32.const 0))
  (func $bump
    (global.set $n (call $ping (global.get $n))))
  ;; In and out of the host twice over.
  (func $again
    (call $call_table (i32.const 0))
    call $bump)
  (func $traps
    call $again
    unreachable)
  (func (export "run") (result i32)
    (call $call_table (i32.const 0))
    (global.get $n))
  (func (export "run_nested") (result i32)
    (call $call_table (i32.const 1))
    (global.get $n))
  (func (export "run_trap")
    (call $call_table (i32.const 2))))
