;; The legacy `delegate` hands an exception past the `try`s in between, from a `try` body, and from one without a handler of its own.
;; not-run: wasmtime has no legacy exceptions
(module
  (tag $e (param i32))
  (func $throws (param i32) (throw $e (local.get 0)))
  (func $past_one (result i32)
    try $outer (result i32)
      try (result i32)
        try (result i32)
          (call $throws (i32.const 1))
          i32.const -1
        delegate $outer
      catch $e
        unreachable ;; passed over
      end
    catch $e
      i32.const 10
      i32.add
    end)
  ;; A `delegate` to the next `try` outward is as if it were not there.
  (func $to_the_next (result i32)
    try (result i32)
      block (result i32)
        try (result i32)
          (call $throws (i32.const 2))
          i32.const -1
        delegate 1
      end
    catch $e
      i32.const 20
      i32.add
    end)
  ;; A label that is no `try`: the next `try` around that label takes it.
  (func $to_a_block (result i32)
    try (result i32)
      block $b (result i32)
        try (result i32)
          try (result i32)
            (call $throws (i32.const 3))
            i32.const -1
          delegate $b
        catch_all
          unreachable ;; passed over
        end
      end
    catch $e
      i32.const 30
      i32.add
    end)
  (func $nothing_thrown (result i32)
    try (result i32)
      i32.const 4
    delegate 0)
  (func (export "run") (result i32)
    (i32.add (call $past_one) (call $to_the_next)))
  (func (export "run_to_a_block") (result i32) call $to_a_block)
  (func (export "run_nothing_thrown") (result i32) call $nothing_thrown))
