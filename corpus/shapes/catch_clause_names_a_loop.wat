;; A catch clause names a loop: control comes back at its head, which ordinary branches and the first entry reach as well.
(module
  (tag $e (param i32))
  (func $throws_below (param $n i32)
    (if (i32.lt_s (local.get $n) (i32.const 3))
      (then (throw $e (i32.add (local.get $n) (i32.const 1))))))
  (func $retry (result i32) (local $n i32) (local $rounds i32)
    i32.const 0
    loop $again (param i32)
      local.set $n
      (local.set $rounds (i32.add (local.get $rounds) (i32.const 1)))
      try_table (catch $e $again)
        (call $throws_below (local.get $n))
      end
      (br_if $again (i32.const 5) (i32.eq (local.get $n) (i32.const 3)))
      drop
    end
    local.get $rounds)
  (func (export "run") (result i32) call $retry))
