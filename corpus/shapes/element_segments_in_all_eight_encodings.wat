;; Function indices in all eight encodings of an element segment: active, passive, declared; bare indices or expressions; with and without a table index.
(module
  (type $i (func (result i32)))
  (table $zero 8 funcref)
  (table $one 8 funcref)
  (table $typed 4 (ref null $i))
  (func $f0 (type $i) (i32.const 1))
  (func $f1 (type $i) (i32.const 2))
  (func $f2 (type $i) (i32.const 4))
  (func $f3 (type $i) (i32.const 8))
  (func $f4 (type $i) (i32.const 16))
  (func $f5 (type $i) (i32.const 32))

  (elem (i32.const 0) func $f0 $f1)                                          ;; 0: active, table 0
  (elem $passive func $f2 $f3)                                               ;; 1: passive
  (elem (table $one) (i32.const 1) func $f1 $f0)                             ;; 2: active, table given
  (elem declare func $f4)                                                    ;; 3: declared
  (elem (i32.const 4) funcref (ref.func $f4) (ref.null func))                ;; 4: active, table 0, expressions
  (elem $passive_exprs funcref (ref.null func) (ref.func $f5))               ;; 5: passive, expressions
  (elem (table $one) (i32.const 4) funcref (ref.func $f3) (ref.func $f2))    ;; 6: active, table given, expressions
  (elem declare funcref (ref.func $f5))                                      ;; 7: declared, expressions
  (elem (table $typed) (i32.const 1) (ref $i) (ref.func $f4) (ref.func $f5)) ;; 6 again, of a typed reference
  (elem func)                                                                ;; empty

  (func $zero (param i32) (result i32) (call_indirect $zero (type $i) (local.get 0)))
  (func $one (param i32) (result i32) (call_indirect $one (type $i) (local.get 0)))
  (func (export "run_active") (result i32)
    (i32.add (call $zero (i32.const 1)) (call $zero (i32.const 4))))
  (func (export "run_active_in_table_one") (result i32)
    (i32.add (call $one (i32.const 1)) (call $one (i32.const 4))))
  (func (export "run_passive") (result i32)
    (table.init $zero $passive (i32.const 6) (i32.const 0) (i32.const 2))
    (table.init $one $passive_exprs (i32.const 6) (i32.const 0) (i32.const 2))
    (i32.add (call $zero (i32.const 7)) (call $one (i32.const 7))))
  (func (export "run_declared") (result i32)
    (i32.add (call_ref $i (ref.func $f4)) (call_ref $i (ref.func $f5))))
  (func (export "run_typed") (result i32)
    (i32.add
      (call_ref $i (table.get $typed (i32.const 1)))
      (call_ref $i (table.get $typed (i32.const 2)))))
  (func (export "run_trap_null_element") (result i32) (call $zero (i32.const 5)))
  (func (export "run_trap_dropped_segment")
    (elem.drop $passive)
    (table.init $zero $passive (i32.const 6) (i32.const 0) (i32.const 1))))
