;; `return_call` runs the exit hook before the call, so a long chain of tail calls keeps one span open.
(module
  (func $count_down (param $n i32) (param $sum i32) (result i32)
    local.get $n
    i32.eqz
    if
      local.get $sum
      return
    end
    local.get $n
    i32.const 1
    i32.sub
    local.get $sum
    local.get $n
    i32.add
    return_call $count_down) ;; both arguments lie below the exit hook
  ;; Two functions that hand over to each other.
  (func $even (param $n i32) (result i32)
    (if (result i32) (i32.eqz (local.get $n))
      (then (i32.const 1))
      (else (return_call $odd (i32.sub (local.get $n) (i32.const 1))))))
  (func $odd (param $n i32) (result i32)
    (if (result i32) (i32.eqz (local.get $n))
      (then (i32.const 0))
      (else (return_call $even (i32.sub (local.get $n) (i32.const 1))))))
  (func (export "run") (result i32)
    (call $count_down (i32.const 10) (i32.const 0)))
  (func (export "run_mutual") (result i32)
    (call $even (i32.const 7)))
  ;; Deeper than any stack: only a true tail call survives it.
  (func (export "run_deep") (result i32)
    (return_call $count_down (i32.const 100000) (i32.const 0))))
