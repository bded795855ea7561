;; `return_call_ref` runs the exit hook with the arguments and the reference below it.
(module
  (rec (type $step (func (param i32 (ref $step)) (result i32))))
  (elem declare func $down)
  (func $down (type $step)
    local.get 0
    i32.eqz
    if
      i32.const 42
      return
    end
    local.get 0
    i32.const 1
    i32.sub
    local.get 1
    local.get 1
    return_call_ref $step)
  (func (export "run") (result i32)
    (call $down (i32.const 5) (ref.func $down)))
  (func (export "run_deep") (result i32)
    (return_call_ref $step (i32.const 100000) (ref.func $down) (ref.func $down))))
