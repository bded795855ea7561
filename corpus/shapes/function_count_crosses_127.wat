;; Function indices cross from one LEB byte to two: 127 and 128 are called, exported, taken and put in tables, and what is just below gets there by the added imports.
(module
  (type $i (func (result i32)))
  (table 12 funcref)
  (elem (i32.const 0) func 122 123 124 125 126 127 128)
  (elem (i32.const 7) funcref (ref.func 123) (ref.func 124) (ref.func 125) (ref.func 126) (ref.func 127))
  (global $at_127 (ref $i) (ref.func 127))
  (global $at_125 (ref $i) (ref.func 125))
  (export "run_124" (func 124))
  (export "run_125" (func 125))
  (export "run_127" (func 127))
  (export "run" (func 128))
  ;; functions 0 to 119, which nobody calls but the last
  (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func)
  (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func)
  (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func)
  (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func)
  (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func)
  (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func)
  (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func) (func)
  (func (type $i) (i32.const 1))          ;; 119
  (func (type $i) (i32.add (call 119) (i32.const 20))) ;; 120
  (func (type $i) (i32.add (call 120) (i32.const 21))) ;; 121
  (func (type $i) (i32.add (call 121) (i32.const 22))) ;; 122
  (func (type $i) (i32.add (call 122) (i32.const 23))) ;; 123
  (func (type $i) (i32.add (call 123) (i32.const 24))) ;; 124
  (func (type $i) (i32.add (call 124) (i32.const 25))) ;; 125
  (func (type $i) (i32.add (call 125) (i32.const 26))) ;; 126
  (func (type $i) (return_call 126))       ;; 127
  ;; 128: each call's LEB grows or not, depending on how many imports are added
  (func (type $i)
    call 122
    call 123
    call 124
    call 125
    call 126
    call 127
    (call_ref $i (global.get $at_127))
    (call_ref $i (global.get $at_125))
    (call_ref $i (ref.func 124))
    (call_indirect (type $i) (i32.const 5))
    i32.add i32.add i32.add i32.add i32.add i32.add i32.add i32.add i32.add))
