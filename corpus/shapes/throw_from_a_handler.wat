;; What a handler throws is caught by the handlers around it, and not by its own, which is not in force any more.
(module
  (tag $e (param i32))
  (func $throws (param i32) (throw $e (local.get 0)))
  (func $another_one (result i32)
    block $outer (result i32)
      try_table (catch $e $outer)
        block $h (result i32)
          try_table (catch $e $h)
            (call $throws (i32.const 1))
          end
          unreachable
        end
        i32.const 10
        i32.add
        throw $e
      end
      unreachable
    end)
  ;; Through a callee, and past this function: the caller catches it.
  (func $to_the_caller
    block $h (result i32)
      try_table (catch $e $h)
        (call $throws (i32.const 2))
      end
      unreachable
    end
    (call $throws (i32.mul (i32.const 10))))
  (func (export "run") (result i32) call $another_one)
  (func (export "run_to_the_caller") (result i32)
    block $h (result i32)
      try_table (catch $e $h)
        call $to_the_caller
      end
      unreachable
    end)
  (func (export "run_uncaught") call $to_the_caller))
