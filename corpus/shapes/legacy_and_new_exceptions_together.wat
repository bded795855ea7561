;; Both flavours of exception handling in one module, and in one function: each frame is wrapped in the flavour around it.
;; not-run: wasmtime has no legacy exceptions
(module
  (tag $e (param i32))
  (func $throws (throw $e (i32.const 1)))
  (func $legacy (result i32)
    try (result i32)
      call $throws
      i32.const 0
    catch $e
    end)
  (func $new (result i32)
    block $h (result i32)
      try_table (catch $e $h)
        call $throws
      end
      i32.const 0
    end)
  (func $both (result i32)
    try (result i32)
      block $h (result i32)
        try_table (catch $e $h)
          call $throws
        end
        i32.const 0
      end
      (throw $e)
    catch $e
    end)
  (func (export "run") (result i32)
    (i32.add (call $legacy) (i32.add (call $new) (call $both)))))
