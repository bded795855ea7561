;; 128-bit vectors: immediates of sixteen bytes that may look like any instruction, shuffles, lanes, loads and stores.
(module
  (memory 1)
  (data (i32.const 16) "\10\00\0f\0b\d2\00\12\00\10\01\0f\0b\d2\01\12\01")
  (func $all_opcodes (result v128)
    ;; call 0, return, end, ref.func 0, return_call 0: bytes of a constant
    v128.const i8x16 0x10 0x00 0x0f 0x0b 0xd2 0x00 0x12 0x00 0x10 0x01 0x0f 0x0b 0xd2 0x01 0x12 0x01)
  (func $reverse (param v128) (result v128)
    (i8x16.shuffle 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0 (local.get 0) (local.get 0))
    return)
  (func (export "run") (result i32)
    (i8x16.all_true (i8x16.eq (call $all_opcodes) (v128.load (i32.const 16)))))
  (func (export "run_shuffle") (result v128)
    (call $reverse (call $all_opcodes)))
  (func (export "run_lanes") (result i32)
    (v128.store8_lane offset=3 1 (i32.const 0) (v128.load8_splat (i32.const 16)))
    (i32x4.extract_lane 0 (i32x4.dot_i16x8_s (v128.load (i32.const 0)) (i16x8.splat (i32.const 3)))))
  (func (export "run_trap") (result v128)
    (v128.load (i32.const 65521))))
