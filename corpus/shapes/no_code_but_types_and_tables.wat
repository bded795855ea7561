;; Types, an imported function in a table and a global, but no function of its own.
;; not-run: has no function without parameters
(module
  (type $f (func (param i32) (result i32)))
  (import "env" "ping" (func $ping (type $f)))
  (table (export "table") 1 funcref)
  (global (export "g") (ref $f) (ref.func $ping))
  (elem (i32.const 0) func $ping))
