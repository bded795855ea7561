;; A tail call into an imported function: its index stays, and the frame is left before the host is entered.
(module
  (import "env" "ping" (func $ping (param i32) (result i32)))
  (table funcref (elem $ping))
  (func $direct (result i32) (return_call $ping (i32.const 1)))
  (func $through_the_table (result i32)
    (return_call_indirect (param i32) (result i32) (i32.const 2) (i32.const 0)))
  (func (export "run") (result i32) (call $direct))
  (func (export "run_through_the_table") (result i32) (call $through_the_table)))
