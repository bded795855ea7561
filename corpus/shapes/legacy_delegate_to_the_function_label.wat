;; The legacy `delegate` hands an exception to an outer `try`, or, by the function's label, to the caller.
;; not-run: wasmtime has no legacy exceptions
(module
  (tag $e)
  (func $throws (throw $e))
  (func $to_the_caller
    try
      call $throws
    delegate 0) ;; the function's label: the block that takes its place hands it on just the same
  (func $to_the_caller_from_the_depth (result i32)
    block
      loop
        try
          call $throws
        delegate 2
      end
    end
    i32.const 1)
  (func $to_the_outer_try (result i32)
    try $outer (result i32)
      try
        try
          call $throws
        delegate $outer
      catch_all
        unreachable ;; passed over
      end
      i32.const 1
    catch_all
      i32.const 2
    end)
  (func (export "run") (result i32)
    try
      call $to_the_caller
      call $to_the_caller_from_the_depth
      drop
    catch $e
    end
    call $to_the_outer_try))
