;; `proc_exit` and a trap leave past every legacy `catch_all`: the handlers do not run.
;; not-run: wasmtime has no legacy exceptions
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (global $handlers (export "handlers") (mut i32) (i32.const 0))
  (tag $e)
  (func $ends (param $how i32)
    (if (i32.eqz (local.get $how)) (then (throw $e)))
    (if (i32.eq (local.get $how) (i32.const 1)) (then (call $exit (i32.const 5))))
    unreachable)
  (func $guarded (param $how i32) (result i32)
    try
      (call $ends (local.get $how))
    catch_all
      (global.set $handlers (i32.add (global.get $handlers) (i32.const 1)))
    end
    global.get $handlers)
  (func (export "run_exception") (result i32) (call $guarded (i32.const 0)))
  (func (export "run_exit") (result i32) (call $guarded (i32.const 1)))
  (func (export "run_trap") (result i32) (call $guarded (i32.const 2))))
