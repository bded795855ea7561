;; A tail call that traps on its own (null, wrong type, out of bounds): the span is closed already and carries the trap.
(module
  (type $i (func (result i32)))
  (table 2 funcref)
  (elem (i32.const 1) $wrong)
  (func $wrong (param i32))
  (func $null_reference (result i32)
    (return_call_ref $i (ref.null $i)))
  (func $element (param $n i32) (result i32)
    (return_call_indirect (type $i) (local.get $n)))
  (func $outer (param $n i32) (result i32)
    (i32.add (call $element (local.get $n)) (i32.const 1)))
  (func (export "run_null_reference") (result i32) (call $null_reference))
  (func (export "run_null_element") (result i32) (call $outer (i32.const 0)))
  (func (export "run_wrong_type") (result i32) (call $outer (i32.const 1)))
  (func (export "run_out_of_bounds") (result i32) (call $outer (i32.const 2)))
  ;; The exported function itself leaves, so nothing is open when the trap comes.
  (func (export "run_at_the_root") (result i32) (return_call $element (i32.const 0))))
