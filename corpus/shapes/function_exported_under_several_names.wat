;; One function under three export names, one of them empty, one the start function, two functions with equal bodies.
(module
  (global $n (mut i32) (i32.const 0))
  (func $f (export "run") (export "run_by_another_name") (export "") (result i32)
    (global.get $n))
  (func $init (export "run_the_start_function_again")
    (global.set $n (i32.add (global.get $n) (i32.const 1))))
  (func $twin (export "run_twin")
    (global.set $n (i32.add (global.get $n) (i32.const 1))))
  (start $init))
