;; Compilation hints: offsets within a function as in branch hints, and in `call_targets` function indices as well.
(module
  (type $i (func (result i32)))
  (table funcref (elem $one $two))
  (func $one (type $i) (i32.const 1))
  (func $two (type $i) (i32.const 2))
  ;; bytes of the body: 00 | 41 00 | 11 00 00 | 41 01 | 11 00 00 | 6a | 0b
  (func $f (type $i)
    (call_indirect (type $i) (i32.const 0)) ;; at 3
    (call_indirect (type $i) (i32.const 1)) ;; at 8
    i32.add)
  (func (export "run") (result i32) call $f)
  ;; function 2: at offset 3, one byte; at offset 8, one byte
  (@custom "metadata.code.instr_freq" (before code) "\01" "\02\02" "\03\01\20" "\08\01\21")
  ;; function 2, offset 3: function 0 at 90%, function 1 at 10%; offset 8: function 1 always
  (@custom "metadata.code.call_targets" (before code) "\01" "\02\02" "\03\04\00\5a\01\0a" "\08\02\01\64")
  ;; a kind that nobody knows; function 0 as a whole
  (@custom "metadata.code.colour" (before code) "\01" "\00\01" "\00\03red"))
