;; An exception leaves the module from a function that it exports, past handlers that are for others; nothing stays open.
(module
  (tag $e (param i32))
  (tag $other)
  (export "e" (tag $e))
  (func $throws (throw $e (i32.const 1)))
  (func $would_catch_another
    block $h
      try_table (catch $other $h)
        call $throws
      end
    end)
  (func (export "run_at_once") call $throws)
  (func (export "run_past_a_handler") call $would_catch_another)
  ;; Caught, and another one thrown from where no handler is in force any more.
  (func (export "run_out_of_a_handler")
    block $h (result i32)
      try_table (catch $e $h)
        call $throws
      end
      unreachable
    end
    (throw $e)))
