;; `memory.grow` of memory 0, in functions with and without parameters and locals, granted and refused.
(module
  (memory (export "memory") 1 4)
  (func $bare (result i32)
    i32.const 1
    memory.grow)
  (func $with_params_and_locals (param $pages i32) (param i64) (result i32) (local $old i32) (local f32 v128)
    i32.const 100 ;; something lies below the operand
    local.get $pages
    memory.grow
    local.tee $old
    drop
    local.get $old
    i32.add)
  (func $in_a_loop (result i32) (local $n i32)
    loop $again
      i32.const 1
      memory.grow
      i32.const -1
      i32.ne
      if
        local.get $n
        i32.const 1
        i32.add
        local.set $n
        br $again
      end
    end
    local.get $n)
  (func (export "run") (result i32)
    call $bare
    memory.size
    i32.add)
  (func (export "run_with_locals") (result i32)
    (call $with_params_and_locals (i32.const 2) (i64.const 0)))
  (func (export "run_zero_pages") (result i32)
    (call $with_params_and_locals (i32.const 0) (i64.const 0)))
  (func (export "run_refused") (result i32)
    (call $with_params_and_locals (i32.const 4) (i64.const 0)))
  (func (export "run_until_refused") (result i32)
    call $in_a_loop)
  (func (export "run_nested") (result i32)
    i32.const 1
    memory.grow
    memory.grow)) ;; by what the first one returned
