;; A legacy `try` inside a `catch_all`, with loops around and tail calls out of both.
;; not-run: wasmtime has no legacy exceptions
(module
  (tag $e (param i64))
  (func $throws (result i64) (throw $e (i64.const 1)))
  (func $f (param $n i32) (result i64)
    loop $again (result i64)
      try (result i64)
        call $throws
      catch $e
        try (param i64) (result i64)
          drop
          local.get $n
          if
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            br $again
          end
          return_call $throws
        catch_all
          return_call $throws
        end
      end
    end)
  (func (export "run") (result i64) (call $f (i32.const 2))))
