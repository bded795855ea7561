;; A function of a shared type, which may call nothing that is not shared: an imported hook is not.
;; not-run: shared-everything-threads is not in wasmtime
(module
  (type $shared (shared (func (param i32) (result i32))))
  (func $double (type $shared)
    (i32.add (local.get 0) (local.get 0)))
  (func $twice (type $shared)
    (call $double (call $double (local.get 0))))
  (func (export "run") (result i32)
    (call $twice (i32.const 3))))
