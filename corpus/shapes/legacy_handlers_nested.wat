;; The legacy `try` inside another, each for its own tag, and `rethrow` out of the inner handler of its own and of the outer's exception.
;; not-run: wasmtime has no legacy exceptions
(module
  (tag $inner (param i32))
  (tag $outer (param i32))
  (func $throws (param $what i32)
    (if (i32.eq (local.get $what) (i32.const 1)) (then (throw $inner (i32.const 10))))
    (if (i32.eq (local.get $what) (i32.const 2)) (then (throw $outer (i32.const 20)))))
  (func $f (param $what i32) (result i32)
    try (result i32)
      try (result i32)
        (call $throws (local.get $what))
        i32.const 1
      catch $inner
      end
      (if (i32.eq (local.get $what) (i32.const 3)) (then (throw $outer (i32.const 30)))) ;; out of the inner one already
    catch $outer
    end)
  ;; Both handlers are open where it is thrown again: 0 is the inner one's exception, 1 the outer one's.
  (func $again (param $which i32)
    try
      (call $throws (i32.const 1))
    catch_all
      try
        (call $throws (i32.const 2))
      catch_all
        (if (local.get $which) (then (rethrow 2)))
        rethrow 0
      end
    end)
  (func $which (param i32) (result i32)
    try (result i32)
      (call $again (local.get 0))
      i32.const 0
    catch $inner
      i32.const 1
      i32.add
    catch $outer
      i32.const 2
      i32.add
    end)
  (func (export "run_nothing") (result i32) (call $f (i32.const 0)))
  (func (export "run_inner") (result i32) (call $f (i32.const 1)))
  (func (export "run_outer") (result i32) (call $f (i32.const 2)))
  (func (export "run_between") (result i32) (call $f (i32.const 3)))
  (func (export "run_rethrow_0") (result i32) (call $which (i32.const 0)))
  (func (export "run_rethrow_outer") (result i32) (call $which (i32.const 1))))
