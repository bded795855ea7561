;; A tag with several values, references among them: a clause brings all of them, to a block of several results and to the function's label.
(module
  (tag $e (param i32 i64 f64 funcref))
  (elem declare func $throws)
  (func $throws (param i32)
    (throw $e (local.get 0) (i64.const 2) (f64.const 3.5) (ref.func $throws)))
  (func $to_a_block (result i32 i64 f64 i32)
    block $h (result i32 i64 f64 funcref)
      try_table (catch $e $h)
        (call $throws (i32.const 1))
      end
      unreachable
    end
    ref.is_null)
  (func $to_the_function (result i32 i64 f64 funcref exnref)
    try_table (catch_ref $e 0)
      (call $throws (i32.const 10))
    end
    unreachable)
  (func (export "run_to_a_block") (result i32 i64 f64 i32) call $to_a_block)
  (func (export "run_to_the_function") (result i32 i64 f64)
    call $to_the_function
    drop
    drop))
