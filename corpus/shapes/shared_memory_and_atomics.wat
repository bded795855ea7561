;; A shared memory and the atomic instructions, whose opcodes come after the prefix 0xfe.
(module
  (memory (export "memory") 1 2 shared)
  (func $add (param $n i32) (result i32)
    (i32.atomic.rmw.add (i32.const 0) (local.get $n)))
  (func $swap (param $expected i64) (param $new i64) (result i64)
    (i64.atomic.rmw.cmpxchg offset=8 (i32.const 0) (local.get $expected) (local.get $new)))
  (func (export "run") (result i32)
    (drop (call $add (i32.const 5)))
    (drop (call $add (i32.const 6)))
    atomic.fence
    (i32.atomic.load (i32.const 0)))
  (func (export "run_cmpxchg") (result i64)
    (drop (call $swap (i64.const 0) (i64.const 9)))
    (call $swap (i64.const 9) (i64.const 0)))
  (func (export "run_wait") (result i32)
    ;; the value differs, so it does not wait: 1
    (memory.atomic.wait32 (i32.const 0) (i32.const 77) (i64.const -1))
    ;; nobody waits: 0
    (memory.atomic.notify (i32.const 0) (i32.const 1))
    i32.add)
  (func (export "run_grow") (result i32)
    (drop (memory.grow (i32.const 1)))
    memory.size)
  (func (export "run_trap_unaligned") (result i32)
    (i32.atomic.load (i32.const 1))))
