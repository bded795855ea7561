;; Several results, and `[] -> R` stands in the type section already: nothing is appended for the block.
(module
  (type $unused_i64 (func (result i64)))
  (type $two (func (result i32 i64)))
  (func $pair (type $two)
    i32.const 1
    i64.const 2
    return)
  (func $pair_of (param i32) (result i32 i64) ;; other parameters, the same results
    local.get 0
    i64.const 3)
  (func (export "run") (type $two) (call $pair))
  (func (export "run_of") (result i32 i64) (call $pair_of (i32.const 4))))
