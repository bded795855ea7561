;; Parameters and several results: no `[] -> R` exists, so one has to be appended to the type section, once for all of them.
(module
  (func $divmod (param i32 i32) (result i32 i32)
    (i32.div_u (local.get 0) (local.get 1))
    (i32.rem_u (local.get 0) (local.get 1)))
  (func $swap (param i32 i32) (result i32 i32)
    local.get 1
    local.get 0
    return)
  (func $three (param i64) (result i64 f32 f64)
    local.get 0
    f32.const 1.5
    f64.const 2.5
    br 0)
  (func (export "run") (result i32)
    (call $divmod (i32.const 17) (i32.const 5))
    call $swap
    i32.sub)
  (func (export "run_three") (result i64)
    (call $three (i64.const 9))
    drop
    drop)
  (func (export "run_trap") (result i32)
    (call $divmod (i32.const 17) (i32.const 0))
    i32.sub))
