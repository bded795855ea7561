;; The exception of a function that the host calls crosses the host's frame, and is caught by the function that called the host.
(module
  (import "env" "call_table" (func $call_table (param i32)))
  (tag $e (param i32))
  (table (export "table") funcref (elem $throws $returns))
  (func $throws (throw $e (i32.const 5)))
  (func $returns)
  (func $through_the_host (param i32) (result i32)
    (call $call_table (local.get 0))
    i32.const 0)
  (func $catches (param i32) (result i32)
    block $h (result i32)
      try_table (result i32) (catch $e $h)
        (call $through_the_host (local.get 0))
      end
    end)
  (func (export "run") (result i32) (call $catches (i32.const 0)))
  (func (export "run_returns") (result i32) (call $catches (i32.const 1)))
  (func (export "run_uncaught") (result i32) (call $through_the_host (i32.const 0))))
