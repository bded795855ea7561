;; `catch_all_ref` names the function's label: the function returns the exception, and the caller throws it on or drops it.
(module
  (tag $e (param i64))
  (func $throws (param $n i64)
    (if (i64.ne (local.get $n) (i64.const 0)) (then (throw $e (local.get $n)))))
  (func $caught (param $n i64) (result exnref)
    try_table (catch_all_ref 0) ;; counted from outside the try_table: the function
      (call $throws (local.get $n))
    end
    ref.null exn)
  (func $from_the_depth (param $n i64) (result exnref)
    block
      loop
        try_table (catch_all_ref 2)
          (call $throws (local.get $n))
        end
      end
    end
    ref.null exn)
  (func (export "run_caught") (result i32) (ref.is_null (call $caught (i64.const 1))))
  (func (export "run_nothing_thrown") (result i32) (ref.is_null (call $caught (i64.const 0))))
  (func (export "run_thrown_on") (result i64)
    block $h (result i64)
      try_table (catch $e $h)
        (throw_ref (call $from_the_depth (i64.const 3)))
      end
      unreachable
    end))
