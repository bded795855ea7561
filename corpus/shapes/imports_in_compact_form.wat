;; The compact-imports encoding: several imports share one module name, and one type.
;; not-run: the compact-imports proposal is not in wasmtime
(module
  (import "env"
    (item "a" (func $a))
    (item "b" (func $b (param i32)))
    (item "memory" (memory 1)))
  (import "other"
    (item "c")
    (item "d")
    (func (param i64)))
  (func (export "run")
    call $a
    (call $b (i32.const 1))
    (call 3 (i64.const 2)))) ;; other.d
