;; A tail call from inside blocks, a loop and a `try_table`, with operands below its arguments.
(module
  (tag $e (param i32))
  (func $add (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1)))
  (func $throws (param i32) (result i32)
    (throw $e (local.get 0)))
  (func $nested (result i32)
    f64.const 9 ;; below the arguments, dropped by the tail call
    block
      loop
        i64.const 8
        i32.const 30
        i32.const 12
        return_call $add
      end
    end
    unreachable)
  ;; The callee's exception passes this handler by: the frame is gone when it is thrown.
  (func $leaves_the_handler (param i32) (result i32)
    block $caught (result i32)
      try_table (catch $e $caught)
        local.get 0
        return_call $throws
      end
      unreachable
    end
    drop
    i32.const -1)
  (func (export "run") (result i32) (call $nested))
  (func (export "run_past_the_handler") (result i32)
    block $caught (result i32)
      try_table (catch $e $caught)
        i32.const 77
        call $leaves_the_handler
        return
      end
      unreachable
    end))
