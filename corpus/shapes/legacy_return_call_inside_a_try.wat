;; A tail call inside the legacy `try` leaves its frame, and with it the handler: what the callee throws reaches the caller.
;; not-run: wasmtime has no legacy exceptions
(module
  (type $f (func (param i32) (result i32)))
  (tag $e (param i32))
  (table funcref (elem $throws))
  (func $throws (type $f) (throw $e (local.get 0)))
  (func $direct (type $f)
    try (result i32)
      (return_call $throws (local.get 0))
    catch $e
      i32.const -1000
      i32.add
    end)
  (func $indirect (type $f)
    try (result i32)
      (return_call_indirect (type $f) (local.get 0) (i32.const 0))
    catch_all
      i32.const -1000
    end)
  (func $caller (param i32) (result i32)
    try (result i32)
      (if (result i32) (local.get 0)
        (then (call $direct (i32.const 1)))
        (else (call $indirect (i32.const 2))))
    catch $e
    end)
  (func (export "run_direct") (result i32) (call $caller (i32.const 1)))
  (func (export "run_indirect") (result i32) (call $caller (i32.const 0)))
  (func (export "run_uncaught") (result i32) (call $direct (i32.const 4))))
