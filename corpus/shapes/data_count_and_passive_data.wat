;; A data count section stands between elements and code, and its segments are used by number.
(module
  (memory 1)
  (data $a "first")
  (data $b "second")
  (data (i32.const 100) "active")
  (func $init (param $at i32)
    (memory.init $b (local.get $at) (i32.const 0) (i32.const 6)))
  (func (export "run") (result i32)
    (call $init (i32.const 0))
    (i32.load8_u (i32.const 5)))
  (func (export "run_trap_dropped")
    (data.drop $b)
    (call $init (i32.const 0))))
