;; `br_on_null` and `br_on_non_null` leave the function; the second carries the reference out as the result.
(module
  (type $i (func (result i32)))
  (elem declare func $seven)
  (func $seven (type $i) (i32.const 7))

  (func $leave_when_null (param $f (ref null $i)) (result i32)
    i32.const -1
    local.get $f
    br_on_null 0 ;; null: -1 is the result
    call_ref $i
    i32.add)

  (func $leave_when_there (param $f (ref null $i)) (result (ref $i))
    local.get $f
    br_on_non_null 0 ;; not null: it is the result
    ref.func $seven)

  (func (export "run_null") (result i32)
    (call $leave_when_null (ref.null $i)))
  (func (export "run_not_null") (result i32)
    (call $leave_when_null (ref.func $seven)))
  (func (export "run_carried") (result i32)
    (call_ref $i (call $leave_when_there (ref.func $seven))))
  (func (export "run_not_carried") (result i32)
    (call_ref $i (call $leave_when_there (ref.null $i)))))
