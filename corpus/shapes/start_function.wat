;; The start function is defined, hooked and called before any export; its index moves.
(module
  (global $n (mut i32) (i32.const 0))
  (func $bump
    (global.set $n (i32.add (global.get $n) (i32.const 1))))
  (func $init
    call $bump
    call $bump)
  (start $init)
  (func (export "run") (result i32)
    call $init ;; the start function is a function like any other
    (global.get $n)))
