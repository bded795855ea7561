;; A function catches what it throws itself, with each of the four catch clauses: it has not been left.
(module
  (tag $e (param i32))
  (tag $other)
  (func $leaf (param i32) (result i32) (local.get 0))
  (func $catch (result i32)
    block $h (result i32)
      try_table (result i32) (catch $e $h)
        (throw $e (call $leaf (i32.const 1)))
      end
    end)
  (func $catch_ref (result i32)
    block $h (result i32 exnref)
      try_table (result i32 exnref) (catch_ref $e $h)
        (throw $e (call $leaf (i32.const 2)))
      end
    end
    drop)
  (func $catch_all (result i32)
    block $h
      try_table (catch_all $h)
        (throw $e (i32.const 3))
      end
    end
    (call $leaf (i32.const 30)))
  (func $catch_all_ref (result i32)
    block $h (result exnref)
      try_table (result exnref) (catch_all_ref $h)
        (throw $other)
      end
    end
    ref.is_null)
  (func (export "run_catch") (result i32) call $catch)
  (func (export "run_catch_ref") (result i32) call $catch_ref)
  (func (export "run_catch_all") (result i32) call $catch_all)
  (func (export "run_catch_all_ref") (result i32) call $catch_all_ref))
