;; The block that a catch clause names is left by branches and by falling through as well: reaching its end says nothing of exceptions.
(module
  (tag $e (param i32))
  (func $throws_two (param $n i32)
    (if (i32.eq (local.get $n) (i32.const 2)) (then (throw $e (i32.const 20)))))
  (func $f (param $n i32) (result i32)
    block $h (result i32)
      (br_if $h (i32.const 10) (i32.eq (local.get $n) (i32.const 1))) ;; outside of the try_table
      drop
      try_table (result i32) (catch $e $h)
        (call $throws_two (local.get $n))
        i32.const 30
        (br_if $h (i32.eq (local.get $n) (i32.const 3))) ;; inside of it
        drop
        i32.const 40
      end
      i32.const 1
      i32.add ;; falls through
    end)
  (func (export "run_br_before") (result i32) (call $f (i32.const 1)))
  (func (export "run_thrown") (result i32) (call $f (i32.const 2)))
  (func (export "run_br_inside") (result i32) (call $f (i32.const 3)))
  (func (export "run_falls_through") (result i32) (call $f (i32.const 4)))
  ;; Once each in a loop, so that what an earlier round left behind would be seen.
  (func (export "run_in_turn") (result i32) (local $n i32) (local $sum i32)
    loop $again
      (local.set $sum (i32.add (local.get $sum) (call $f (local.get $n))))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const 5)))
    end
    local.get $sum))
