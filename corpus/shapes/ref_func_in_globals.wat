;; `ref.func` initialises globals, typed and untyped, mutable and not.
(module
  (type $i (func (result i32)))
  (func $one (type $i) (i32.const 1))
  (func $two (type $i) (i32.const 2))
  (global $plain funcref (ref.func $one))
  (global $typed (ref $i) (ref.func $two))
  (global $changing (mut (ref null $i)) (ref.func $one))
  (global $copy (ref $i) (global.get $typed)) ;; no index of a function in here
  (global $null (export "null") funcref (ref.null func))
  (func (export "run") (result i32)
    (call_ref $i (global.get $copy))
    (call_ref $i (global.get $changing))
    (global.set $changing (ref.func $two))
    (call_ref $i (global.get $changing))
    i32.add
    i32.add
    (ref.is_null (global.get $plain))
    i32.add))
