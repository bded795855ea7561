;; `memory.grow` of a 64-bit memory takes and returns an i64, which a hook for i32 cannot report: left alone.
(module
  (memory i64 1 4)
  (func $grow (param $pages i64) (result i64)
    local.get $pages
    memory.grow)
  (func (export "run") (result i64)
    (call $grow (i64.const 2))
    memory.size
    i64.add)
  (func (export "run_refused") (result i64)
    (call $grow (i64.const 0x100000000))))
