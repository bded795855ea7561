;; The legacy flavour, in a module without tags: an import throws, a frame is crossed, `catch_all` catches, and may throw it on.
;; not-run: wasmtime has no legacy exceptions
(module
  (import "env" "throw" (func $throw (param i32)))
  (func $between (result i32)
    (call $throw (i32.const 1))
    i32.const 0)
  (func $after (result i32) (i32.const 2))
  (func $on
    try
      (drop (call $between))
    catch_all
      rethrow 0
    end)
  (func (export "run") (result i32)
    try (result i32)
      call $between
    catch_all
      call $after
    end)
  (func (export "run_thrown_on") (result i32)
    try (result i32)
      call $on
      i32.const 0
    catch_all
      call $after
    end)
  (func (export "run_uncaught") call $on))
