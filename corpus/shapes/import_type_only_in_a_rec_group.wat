;; The only `(i32) -> ()` sits in a rec group of two: a host's function of that bare type is another type, so the imported hooks need a new one.
(module
  (rec
    (type $sink (func (param i32)))
    (type $cell (struct (field (mut i32)))))
  (type $sinks (func (param i32 i32)))
  (global $last (ref $cell) (struct.new $cell (i32.const 0)))
  (func $keep (type $sink)
    (struct.set $cell 0 (global.get $last) (local.get 0)))
  (func $keep_sum (type $sinks)
    (call $keep (i32.add (local.get 0) (local.get 1))))
  (func (export "run") (result i32)
    (call $keep_sum (i32.const 3) (i32.const 4))
    (struct.get $cell 0 (global.get $last))))
