;; The type section counts rec groups, not types: an appended type's index is not the section's count, and an empty group adds nothing to it.
(module
  (rec)
  (rec
    (type $a (struct (field (ref null $b))))
    (type $b (struct (field (ref null $a))))
    (type $c (func (param i32) (result i32 i64))))
  (rec (type $alone (struct)))
  (rec)
  ;; two results without a `[] -> R`: a type has to be appended
  (func $f (type $c)
    local.get 0
    i64.const 2)
  (func (export "run") (result i32)
    (call $f (i32.const 1))
    i32.wrap_i64
    i32.add))
