;; Functions of open types and their subtypes, in rec groups that refer to each other: casts, tests and calls through them.
(module
  (rec
    (type $shape (sub (struct (field (ref $area)))))
    (type $area (func (param (ref $shape)) (result i32))))
  (type $square (sub final $shape (struct (field (ref $area)) (field i32))))
  (type $make (sub (func (result (ref $shape)))))
  (type $make_square (sub $make (func (result (ref $square)))))
  (elem declare func $area_of_shape $area_of_square $new_square)
  (func $area_of_shape (type $area) (i32.const 0))
  (func $area_of_square (type $area) (local $side i32)
    (local.tee $side (struct.get $square 1 (ref.cast (ref $square) (local.get 0))))
    local.get $side
    i32.mul)
  (func $new_square (type $make_square)
    (struct.new $square (ref.func $area_of_square) (i32.const 6)))
  (func $area (param $s (ref $shape)) (result i32)
    (call_ref $area (local.get $s) (struct.get $shape 0 (local.get $s))))
  (func (export "run") (result i32)
    (i32.add
      (call $area (call_ref $make (ref.func $new_square)))
      (call $area (struct.new $shape (ref.func $area_of_shape)))))
  (func (export "run_test") (result i32)
    (ref.test (ref $square) (call $new_square)))
  (func (export "run_test_of_a_function") (result i32)
    (ref.test (ref $make) (ref.func $new_square)))
  (func (export "run_trap") (result i32)
    (call_ref $area (struct.new $shape (ref.func $area_of_square)) (ref.func $area_of_square))))
