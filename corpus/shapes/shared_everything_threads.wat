;; Shared types, globals and functions: a hook that is not shared may not be called from a shared function.
;; not-run: shared-everything-threads is not in wasmtime
(module
  (type $counter (shared (struct (field (mut i32)))))
  (global $n (shared mut i32) (i32.const 0))
  (func $bump (param (ref $counter)) (result i32)
    (struct.atomic.rmw.add seq_cst $counter 0 (local.get 0) (i32.const 1)))
  (func (export "run") (result i32)
    (drop (global.atomic.rmw.add seq_cst $n (i32.const 2)))
    (call $bump (struct.new $counter (i32.const 3)))
    (global.atomic.get acq_rel $n)
    i32.add))
