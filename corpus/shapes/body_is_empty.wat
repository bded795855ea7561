;; A body that is nothing but `end`, with and without parameters and locals.
(module
  (func $nothing)
  (func $takes (param i32 i64 f32 f64))
  (func $locals (local i32 i32 i64))
  (func (export "run"))
  (func (export "run_calls")
    call $nothing
    (call $takes (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4))
    call $locals))
