;; A `try_table` in a loop throws and catches in every round: each exception closes what it crossed, the function goes on as itself.
(module
  (tag $e (param i32))
  (func $throws (param i32) (throw $e (local.get 0)))
  (func $between (param i32) (call $throws (local.get 0)))
  (func $sum (param $n i32) (result i32) (local $sum i32)
    loop $again
      block $h (result i32)
        try_table (catch $e $h)
          (call $between (local.get $n))
        end
        unreachable
      end
      (local.set $sum (i32.add (local.get $sum)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $again (local.get $n))
    end
    local.get $sum)
  ;; The loop is inside, and the handler out of it.
  (func $until (param $n i32) (result i32)
    block $h (result i32)
      try_table (catch $e $h)
        loop $again
          (if (i32.eqz (local.get $n)) (then (call $between (i32.const 50))))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          br $again
        end
      end
      unreachable
    end)
  (func (export "run") (result i32) (call $sum (i32.const 4)))
  (func (export "run_out_of_it") (result i32) (call $until (i32.const 3))))
