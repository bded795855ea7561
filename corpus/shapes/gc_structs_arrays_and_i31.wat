;; Garbage collected structs, packed fields, arrays and i31: their instructions carry type and field indices, none of them of a function.
(module
  (type $bytes (array (mut i8)))
  (type $point (struct (field $x (mut i32)) (field $y (mut i16)) (field $name (ref null $bytes))))
  (data $hello "hello")
  (func $make (param $x i32) (result (ref $point))
    (struct.new $point
      (local.get $x)
      (i32.const 0x1ffff) ;; packed into sixteen bits
      (array.new_data $bytes $hello (i32.const 0) (i32.const 5))))
  (func $sum (param $a (ref null $bytes)) (result i32) (local $i i32) (local $s i32)
    (if (ref.is_null (local.get $a)) (then (return (i32.const -1))))
    loop $again
      (if (i32.lt_u (local.get $i) (array.len (local.get $a)))
        (then
          (local.set $s (i32.add (local.get $s) (array.get_u $bytes (local.get $a) (local.get $i))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $again)))
    end
    local.get $s)
  (func (export "run") (result i32) (local $p (ref null $point))
    (local.set $p (call $make (i32.const 7)))
    (struct.set $point $x (local.get $p) (i32.const 8))
    (i32.add
      (struct.get $point $x (local.get $p))
      (struct.get_s $point $y (local.get $p))))
  (func (export "run_array") (result i32)
    (call $sum (struct.get $point $name (call $make (i32.const 1)))))
  (func (export "run_null") (result i32)
    (call $sum (ref.null $bytes)))
  (func (export "run_i31") (result i32)
    (i31.get_u (ref.i31 (i32.const -1))))
  (func (export "run_trap_null") (result i32)
    (struct.get $point $x (ref.null $point)))
  (func (export "run_trap_bounds") (result i32)
    (array.get_u $bytes (array.new_default $bytes (i32.const 2)) (i32.const 2))))
