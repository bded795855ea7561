;; A caught exception is kept and thrown again by `throw_ref`, once from the catcher and once from a callee; a null one traps.
(module
  (tag $e (param i32))
  (func $throws (throw $e (i32.const 11)))
  (func $throw_it (param exnref) (throw_ref (local.get 0)))
  (func $catch_and_throw (param $in_a_callee i32)
    block $h (result exnref)
      try_table (catch_all_ref $h)
        call $throws
      end
      return
    end
    local.get $in_a_callee
    if (param exnref)
      call $throw_it
    else
      throw_ref
    end)
  (func $outer (param i32) (result i32)
    block $h (result i32)
      try_table (catch $e $h)
        (call $catch_and_throw (local.get 0))
      end
      i32.const -1
    end)
  (func (export "run") (result i32) (call $outer (i32.const 0)))
  (func (export "run_in_a_callee") (result i32) (call $outer (i32.const 1)))
  (func (export "run_trap_null") (throw_ref (ref.null exn))))
