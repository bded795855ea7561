;; The only `(i32) -> ()` types are open (`sub`) or have a supertype: neither is the final type that an import without ceremony has.
(module
  (type $open (sub (func (param i32))))
  (type $below (sub final $open (func (param i32))))
  (type $open_too (sub (func (param i32 i32))))
  (global $last (mut i32) (i32.const 0))
  (table 2 (ref null $open))
  (elem (i32.const 0) (ref null $open) (ref.func $a) (ref.func $b))
  (func $a (type $open) (global.set $last (local.get 0)))
  (func $b (type $below) (global.set $last (i32.mul (local.get 0) (i32.const 10))))
  (func $c (type $open_too) (nop))
  (func (export "run") (result i32)
    (call_indirect (type $open) (i32.const 4) (i32.const 0))
    (call_indirect (type $open) (i32.const 5) (i32.const 1)) ;; the subtype passes the check
    (call $c (i32.const 1) (i32.const 2))
    (global.get $last))
  ;; The reverse does not: element 0 is not of the type below.
  (func (export "run_trap")
    (call_indirect (type $below) (i32.const 6) (i32.const 0))))
