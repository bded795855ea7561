;; The legacy flavour: an exception crosses frames that have no handler, is caught, and in another run by nobody.
;; not-run: wasmtime has no legacy exceptions
(module
  (tag $e (param i32))
  (func $thrower (param i32)
    (throw $e (local.get 0)))
  (func $between (param i32) (result i32)
    (call $thrower (i32.add (local.get 0) (i32.const 1)))
    i32.const 0)
  (func $catcher (result i32)
    try (result i32)
      (call $between (i32.const 40))
    catch $e
    end)
  (func $after (result i32) (i32.const 1))
  (func (export "run") (result i32)
    (i32.add (call $catcher) (call $after)))
  (func (export "run_uncaught") (result i32)
    (call $between (i32.const 1))))
