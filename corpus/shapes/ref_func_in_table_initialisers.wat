;; A table's initialiser is a `ref.func`: one more place for a function index, and the table's entry has the longer form.
(module
  (type $i (func (result i32)))
  (func $one (type $i) (i32.const 1))
  (func $two (type $i) (i32.const 2))
  (table $typed 3 (ref $i) (ref.func $two)) ;; cannot be null, so it must have one
  (table $plain 2 4 funcref (ref.func $one))
  (table $without 2 funcref)
  (elem (table $typed) (i32.const 1) (ref $i) (ref.func $one))
  (func (export "run") (result i32)
    (call_ref $i (table.get $typed (i32.const 0)))
    (call_ref $i (table.get $typed (i32.const 1)))
    (call_indirect $plain (type $i) (i32.const 1))
    i32.add
    i32.add)
  (func (export "run_trap") (result i32)
    (call_indirect $without (type $i) (i32.const 1))))
