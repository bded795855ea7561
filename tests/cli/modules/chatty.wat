;; Writes 200 lines for the log in one span, and one line in another.
(module
  (import "dylibso:observe/api" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "line")
  (func $chatty
    (local $left i32)
    (local.set $left (i32.const 200))
    (loop $again
      (call $log (i32.const 3) (i32.const 0) (i32.const 4))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
  (func $terse
    (call $log (i32.const 1) (i32.const 0) (i32.const 4)))
  (func (export "_start")
    (call $chatty)
    (call $terse)))
