;; A legacy `try` in a loop throws and catches in every round; branches out of both parts reach the loop's head and the block behind it.
;; not-run: wasmtime has no legacy exceptions
(module
  (tag $e (param i32))
  (func $throws_if_odd (param i32) (result i32)
    (if (i32.and (local.get 0) (i32.const 1)) (then (throw $e (local.get 0))))
    local.get 0)
  (func $sum (param $n i32) (result i32) (local $odd i32) (local $even i32)
    block $done
      loop $again
        (br_if $done (i32.eqz (local.get $n)))
        try
          (call $throws_if_odd (local.get $n))
          (local.set $even (i32.add (local.get $even)))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          br $again
        catch $e
          (local.set $odd (i32.add (local.get $odd)))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br_if $done (i32.gt_u (local.get $odd) (i32.const 100)))
          br $again
        end
      end
    end
    (i32.add (i32.mul (local.get $odd) (i32.const 100)) (local.get $even)))
  (func (export "run") (result i32) (call $sum (i32.const 5)))
  (func (export "run_out_of_the_catch") (result i32) (call $sum (i32.const 101))))
