;; The legacy `rethrow` counts labels like a branch, and names a `catch` that encloses it.
;; not-run: wasmtime has no legacy exceptions
(module
  (tag $e (param i32))
  (func $throws (throw $e (i32.const 1)))
  (func $again
    try
      call $throws
    catch $e
      drop
      try
        call $throws
      catch_all
        block
          rethrow 2 ;; the outer one
        end
      end
    end)
  (func (export "run") (result i32)
    try (result i32)
      call $again
      i32.const 0
    catch $e
    end))
