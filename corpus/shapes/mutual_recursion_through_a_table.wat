;; Two functions call each other by table index only, so no `call` names either.
(module
  (type $i_i (func (param i32) (result i32)))
  (table funcref (elem $even $odd))
  (func $even (type $i_i)
    (if (result i32) (i32.eqz (local.get 0))
      (then (i32.const 1))
      (else (call_indirect (type $i_i) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)))))
  (func $odd (type $i_i)
    local.get 0
    i32.eqz
    if
      i32.const 0
      return
    end
    (call_indirect (type $i_i) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))
  (func (export "run") (result i32)
    (call_indirect (type $i_i) (i32.const 9) (i32.const 0))))
