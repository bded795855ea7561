;; `br_on_non_null` leaves the function with the reference as its result, and falls through without it.
(module
  (type $f (func (result i32)))
  (table $t 2 funcref (ref.null func))
  (elem (table $t) (i32.const 0) func $one)
  (func $one (type $f) (i32.const 1))
  (func $none (type $f) (i32.const -1))
  (elem declare func $none)
  (func $at_or_none (param $at i32) (result (ref func))
    loop
      (br_on_non_null 1 (table.get $t (local.get $at)))
    end
    ref.func $none)
  (func $call (param $at i32) (result i32)
    (call_ref $f (ref.cast (ref $f) (call $at_or_none (local.get $at)))))
  (func (export "run_non_null") (result i32) (call $call (i32.const 0)))
  (func (export "run_null") (result i32) (call $call (i32.const 1))))
