;; `return_call_indirect` runs the exit hook with the arguments and the table index below it.
(module
  (type $i_i (func (param i32 i64) (result i32)))
  (table $first 1 funcref)
  (table $second funcref (elem $down $done))
  (func $down (type $i_i)
    local.get 0
    i32.const 1
    i32.sub
    local.get 1
    i64.const 2
    i64.add
    local.get 0
    i32.const 1
    i32.le_s ;; element 1 when the count has run out
    return_call_indirect $second (type $i_i))
  (func $done (type $i_i)
    local.get 1
    i32.wrap_i64)
  (func (export "run") (result i32)
    (call $down (i32.const 5) (i64.const 0)))
  (func (export "run_deep") (result i32)
    (call $down (i32.const 100000) (i64.const 0))))
