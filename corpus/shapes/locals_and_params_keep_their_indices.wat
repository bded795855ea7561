;; Locals in groups, some of no size: a hook set that needs a local appends it, and no index below moves.
(module
  (func $f (param $a i32) (param $b i64) (result i32)
    (local $c i32) (local $d i32) (local $e f64) (local $f v128) (local $g externref) (local $h i32)
    (local.set $c (i32.wrap_i64 (local.get $b)))
    (local.set $d (i32.add (local.get $a) (local.get $c)))
    (local.set $h (local.tee $a (i32.mul (local.get $d) (i32.const 2))))
    (i32.add (local.get $h) (ref.is_null (local.get $g))))
  ;; A local that may not be null has to be set before it is read, also inside the new block.
  (func $not_null (param $x i32) (result i32) (local $r (ref i31))
    (local.set $r (ref.i31 (local.get $x)))
    block
      (br_if 0 (local.get $x))
      (local.set $r (ref.i31 (i32.const 9)))
    end
    (i31.get_s (local.get $r)))
  (func (export "run") (result i32) (call $f (i32.const 3) (i64.const 4)))
  (func (export "run_not_null") (result i32)
    (i32.add (call $not_null (i32.const 0)) (call $not_null (i32.const 1)))))
