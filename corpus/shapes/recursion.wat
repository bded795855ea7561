;; A function calls itself, and its spans nest.
(module
  (func $fib (param $n i32) (result i32)
    (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
      (then (local.get $n))
      (else
        (i32.add
          (call $fib (i32.sub (local.get $n) (i32.const 1)))
          (call $fib (i32.sub (local.get $n) (i32.const 2)))))))
  (func $bottom (param $n i32)
    (if (i32.eqz (local.get $n)) (then unreachable))
    (call $bottom (i32.sub (local.get $n) (i32.const 1))))
  (func (export "run") (result i32) (call $fib (i32.const 6)))
  (func (export "run_trap_at_the_bottom") (call $bottom (i32.const 5))))
