;; Several results among them references that may not be null: the appended block type has to name the module's own types.
(module
  (type $i (func (result i32)))
  (type $point (struct (field i32) (field i32)))
  (elem declare func $one)
  (func $one (type $i) (i32.const 1))
  (func $bundle (param $early i32) (result (ref $i) (ref null $point) externref v128)
    local.get $early
    if
      ref.func $one
      ref.null $point
      ref.null extern
      v128.const i32x4 1 2 3 4
      return
    end
    ref.func $one
    (struct.new $point (i32.const 20) (i32.const 30))
    ref.null extern
    v128.const i32x4 5 6 7 8)
  (func $use (param $early i32) (result i32)
    (local $v v128) (local $p (ref null $point))
    local.get $early
    call $bundle
    local.set $v
    drop
    local.set $p
    call_ref $i
    (i32x4.extract_lane 3 (local.get $v))
    i32.add
    (struct.get $point 1 (local.get $p))
    i32.add)
  (func (export "run") (result i32) (call $use (i32.const 0)))
  (func (export "run_trap") (result i32) (call $use (i32.const 1))))
