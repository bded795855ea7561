;; The start function traps in a callee: there is no instance, so `run` is never reached.
(module
  (func $divide (param i32) (result i32)
    (i32.div_s (i32.const 1) (local.get 0)))
  (func $init
    (drop (call $divide (i32.const 0))))
  (start $init)
  (func (export "run") (result i32) (i32.const 1)))
