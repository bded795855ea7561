;; What a legacy `catch` throws is caught by the `try` around it, and not by its own; past the function, by the caller.
;; not-run: wasmtime has no legacy exceptions
(module
  (tag $e (param i32))
  (func $throws (param i32) (throw $e (local.get 0)))
  (func $another_one (result i32)
    try (result i32)
      try (result i32)
        (call $throws (i32.const 1))
        unreachable
      catch $e
        i32.const 10
        i32.add
        throw $e
      end
    catch $e
    end)
  (func $to_the_caller
    try
      (call $throws (i32.const 2))
    catch $e
      (call $throws (i32.mul (i32.const 10)))
    end)
  (func (export "run") (result i32) call $another_one)
  (func (export "run_to_the_caller") (result i32)
    try (result i32)
      call $to_the_caller
      i32.const 0
    catch $e
    end)
  (func (export "run_uncaught") call $to_the_caller))
