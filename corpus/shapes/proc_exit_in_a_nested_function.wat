;; `proc_exit` leaves for good with three frames open, and so does the `unreachable` behind a panic.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func $quit (param $code i32)
    local.get $code
    call $exit
    unreachable) ;; the host never returns
  (func $panic (param $code i32)
    local.get $code
    i32.eqz
    br_if 0
    unreachable)
  (func $middle (param $code i32) (result i32)
    block
      local.get $code
      call $panic
    end
    local.get $code
    call $quit
    i32.const 1)
  (func (export "run") (result i32)
    (i32.add (i32.const 1) (call $middle (i32.const 0))))
  (func (export "run_code") (call $quit (i32.const 3)))
  (func (export "run_panic") (result i32) (call $middle (i32.const 5)))
  (func (export "run_returns_before") (call $panic (i32.const 0))))
