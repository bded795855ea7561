;; A body whose end cannot be reached: the block's type says what the exit hook and the `end` see.
(module
  (tag $e)
  (func $with_unreachable (result i32) unreachable)
  (func $with_return (result i32) (i32.const 1) (return))
  (func $with_br (result i64) (i64.const 2) (br 0))
  (func $with_br_table (result f32) (f32.const 3) (i32.const 0) (br_table 0 0))
  (func $with_a_throw (result f64) (throw $e))
  (func $with_a_loop_that_never_ends (param $x i32) (result externref)
    loop $again (result externref)
      local.get $x
      i32.eqz
      if unreachable end
      local.get $x
      i32.const 1
      i32.sub
      local.set $x
      br $again
    end)
  (func $with_a_tail_call (result i32) (return_call $with_return))
  ;; Two results of nothing at all.
  (func $several (result i32 i64) unreachable)

  (func (export "run") (result i32 i64 f32 i32)
    (call $with_return) (call $with_br) (call $with_br_table) (call $with_a_tail_call))
  (func (export "run_trap") (result i32) (call $with_unreachable))
  (func (export "run_trap_several") (result i32 i64) (call $several))
  (func (export "run_trap_in_a_loop") (drop (call $with_a_loop_that_never_ends (i32.const 3))))
  (func (export "run_throw") (result f64) (call $with_a_throw)))
