;; A catch clause branches to the function's own label: the exception's values become the results.
(module
  (tag $e (param i32))
  (func $throws (param i32)
    (throw $e (local.get 0)))
  (func $from_a_callee (param i32) (result i32)
    try_table (catch $e 0) ;; counted from outside the try_table: the function
      (call $throws (local.get 0))
    end
    i32.const -1)
  (func $from_the_depth (param i32) (result i32 exnref)
    loop
      block
        try_table (catch_ref $e 2)
          (throw $e (local.get 0))
        end
      end
    end
    unreachable)
  (func $without_values (param i32)
    try_table (catch_all 0)
      (call $throws (local.get 0))
    end
    unreachable)
  (func (export "run") (result i32) (call $from_a_callee (i32.const 5)))
  (func (export "run_from_the_depth") (result i32)
    (call $from_the_depth (i32.const 6))
    drop)
  (func (export "run_without_values") (call $without_values (i32.const 7))))
