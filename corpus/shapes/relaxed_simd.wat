;; Relaxed SIMD, whose opcodes need two LEB bytes after the prefix; the operands are chosen so that every choice agrees.
(module
  (func $madd (param v128 v128 v128) (result v128)
    (f32x4.relaxed_madd (local.get 0) (local.get 1) (local.get 2)))
  (func $swizzle (param v128 v128) (result v128)
    (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))
  (func (export "run") (result f32)
    (f32x4.extract_lane 2
      (call $madd (v128.const f32x4 1 2 3 4) (v128.const f32x4 2 2 2 2) (v128.const f32x4 1 1 1 1))))
  (func (export "run_swizzle") (result i32)
    (i32x4.extract_lane 0
      (call $swizzle (v128.const i32x4 0x03020100 0 0 0) (v128.const i8x16 3 2 1 0 0 0 0 0 0 0 0 0 0 0 0 0))))
  (func (export "run_laneselect") (result i32)
    (i32x4.extract_lane 1
      (i32x4.relaxed_laneselect (v128.const i32x4 1 2 3 4) (v128.const i32x4 5 6 7 8) (v128.const i32x4 0 -1 0 -1))))
  (func (export "run_dot") (result i32)
    (i32x4.extract_lane 0
      (i32x4.relaxed_dot_i8x16_i7x16_add_s (i8x16.splat (i32.const 2)) (i8x16.splat (i32.const 3)) (v128.const i32x4 10 0 0 0)))))
