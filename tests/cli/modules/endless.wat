;; Says that it runs, and never ends: `calls` enters functions all the time, `spins` none.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "running\n")
  (func $say
    (i32.store (i32.const 0) (i32.const 8))
    (i32.store (i32.const 4) (i32.const 8))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))))
  (func $nothing)
  (func (export "calls")
    (call $say)
    (loop $again (call $nothing) (br $again)))
  ;; Written out here, so that no event comes after the line.
  (func (export "spins")
    (i32.store (i32.const 0) (i32.const 8))
    (i32.store (i32.const 4) (i32.const 8))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
    (loop $again (br $again))))
