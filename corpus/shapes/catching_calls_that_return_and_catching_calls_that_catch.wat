;; Calls of functions that could catch, but have nothing to, before, between and inside of calls that do.
(module
  (tag $e (param i32))
  (func $throws_three (param $n i32)
    (if (i32.eq (local.get $n) (i32.const 3)) (then (throw $e (i32.const 30)))))
  ;; An ordinary return does not come by the handler.
  (func $caught (param $n i32) (result i32)
    (block $h (result i32)
      (try_table (catch $e $h) (call $throws_three (local.get $n)))
      (return (local.get $n))))
  (func $around (param $n i32) (result i32)
    (block $h (result i32)
      (try_table (result i32) (catch $e $h)
        (i32.add (call $caught (i32.const 1)) (call $caught (local.get $n)))
        (call $throws_three (local.get $n)))))
  (func (export "run_around") (result i32)
    (i32.add
      (i32.add (call $around (i32.const 2)) (call $around (i32.const 3)))
      (i32.add (call $around (i32.const 4)) (call $around (i32.const 3)))))
  (func (export "run_in_turn") (result i32)
    (i32.add
      (i32.add (call $caught (i32.const 1)) (call $caught (i32.const 3)))
      (i32.add (call $caught (i32.const 2)) (call $caught (i32.const 3))))))
