;; `br_if` to the function's label leaves when taken and keeps its operands when not.
(module
  (func $pick (param $taken i32) (result i32)
    i32.const 40
    local.get $taken
    br_if 0
    ;; not taken: 40 is still on the stack
    i32.const 2
    i32.add)
  (func $leave_the_loop (param $n i32) (result i32) (local $sum i32)
    loop $again
      local.get $sum
      local.get $sum
      local.get $n
      i32.ge_s
      br_if 1 ;; the function: the sum is the result
      i32.const 3
      i32.add
      local.set $sum
      br $again
    end
    unreachable)
  (func (export "run_taken") (result i32)
    i32.const 1
    call $pick)
  (func (export "run_not_taken") (result i32)
    i32.const 0
    call $pick)
  (func (export "run_out_of_a_loop") (result i32)
    i32.const 10
    call $leave_the_loop))
