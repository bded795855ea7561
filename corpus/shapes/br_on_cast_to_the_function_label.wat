;; `br_on_cast` and `br_on_cast_fail` leave the function with the reference as its result.
(module
  (type $point (struct (field i32)))

  ;; A point leaves at once; anything else becomes a point of -1.
  (func $point_or_default (param $x anyref) (result (ref $point))
    local.get $x
    br_on_cast 0 anyref (ref $point)
    drop
    i32.const -1
    struct.new $point)

  ;; What is not an i31 leaves at once, from inside a loop.
  (func $anything_but_i31 (param $x anyref) (result anyref)
    loop
      local.get $x
      br_on_cast_fail 1 anyref (ref i31)
      drop
    end
    ref.null any)

  (func (export "run_cast") (result i32)
    (struct.get $point 0 (call $point_or_default (struct.new $point (i32.const 5)))))
  (func (export "run_no_cast") (result i32)
    (struct.get $point 0 (call $point_or_default (ref.i31 (i32.const 5)))))
  (func (export "run_fail") (result i32)
    (ref.is_null (call $anything_but_i31 (struct.new $point (i32.const 5)))))
  (func (export "run_no_fail") (result i32)
    (ref.is_null (call $anything_but_i31 (ref.i31 (i32.const 5))))))
