;; Every kind of trap, two frames down, after a sibling has come and gone: three spans stay open.
(module
  (type $i (func (result i32)))
  (memory 1)
  (table 2 funcref)
  (elem (i32.const 1) $sibling)
  (func $sibling)
  (func $bottom (param $kind i32) (result i32)
    block block block block block block block
      local.get $kind
      br_table 0 1 2 3 4 5 6
    end unreachable
    end (return (i32.div_u (i32.const 1) (i32.const 0)))
    end (return (i32.div_s (i32.const 0x80000000) (i32.const -1)))
    end (return (i32.trunc_f32_s (f32.const nan)))
    end (return (i32.load (i32.const 65533)))
    end (return (call_indirect (type $i) (i32.const 0)))
    end (return (call_indirect (type $i) (i32.const 1))))
  (func $middle (param $kind i32) (result i32)
    call $sibling
    (i32.add (call $bottom (local.get $kind)) (i32.const 1)))
  (func (export "run_unreachable") (result i32) (call $middle (i32.const 0)))
  (func (export "run_division_by_zero") (result i32) (call $middle (i32.const 1)))
  (func (export "run_integer_overflow") (result i32) (call $middle (i32.const 2)))
  (func (export "run_bad_conversion") (result i32) (call $middle (i32.const 3)))
  (func (export "run_out_of_bounds_memory") (result i32) (call $middle (i32.const 4)))
  (func (export "run_null_element") (result i32) (call $middle (i32.const 5)))
  (func (export "run_wrong_type") (result i32) (call $middle (i32.const 6))))
