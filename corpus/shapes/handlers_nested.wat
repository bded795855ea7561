;; A `try_table` inside another, each for its own tag: the inner one lets the outer's exceptions pass, one thrown between the two reaches the outer.
(module
  (tag $inner (param i32))
  (tag $outer (param i32))
  (func $throws (param $what i32)
    (if (i32.eq (local.get $what) (i32.const 1)) (then (throw $inner (i32.const 10))))
    (if (i32.eq (local.get $what) (i32.const 2)) (then (throw $outer (i32.const 20)))))
  (func $f (param $what i32) (result i32)
    block $o (result i32)
      try_table (result i32) (catch $outer $o)
        block $i (result i32)
          try_table (result i32) (catch $inner $i)
            (call $throws (local.get $what))
            i32.const 1
          end
          (if (i32.eq (local.get $what) (i32.const 3)) (then (throw $outer (i32.const 30)))) ;; out of the inner one already
        end
      end
    end)
  ;; The other way round: both in one function, the first clause that fits is taken.
  (func $g (param $what i32) (result i32)
    block $all
      block $i (result i32)
        try_table (catch_all $all)
          try_table (catch $inner $i) (catch $inner $i) (catch_all $all)
            (call $throws (local.get $what))
          end
        end
        i32.const 2
      end
      return
    end
    i32.const 3)
  (func (export "run_nothing") (result i32) (i32.add (call $f (i32.const 0)) (call $g (i32.const 0))))
  (func (export "run_inner") (result i32) (i32.add (call $f (i32.const 1)) (call $g (i32.const 1))))
  (func (export "run_outer") (result i32) (i32.add (call $f (i32.const 2)) (call $g (i32.const 2))))
  (func (export "run_between") (result i32) (i32.add (call $f (i32.const 3)) (call $g (i32.const 3)))))
