;; A tail call leaves its frame, and with it the handlers around it: what the callee throws reaches the caller.
(module
  (type $f (func (param i32) (result i32)))
  (tag $e (param i32))
  (table funcref (elem $throws))
  (elem declare func $throws)
  (func $throws (type $f) (throw $e (local.get 0)))
  (func $direct (type $f)
    block $h (result i32)
      try_table (catch $e $h)
        (return_call $throws (local.get 0))
      end
      unreachable
    end
    i32.const -1000
    i32.add)
  (func $indirect (type $f)
    block $h (result i32)
      try_table (catch $e $h)
        (return_call_indirect (type $f) (local.get 0) (i32.const 0))
      end
      unreachable
    end
    i32.const -1000
    i32.add)
  (func $by_reference (type $f)
    block $h (result i32)
      try_table (catch $e $h)
        (return_call_ref $f (local.get 0) (ref.func $throws))
      end
      unreachable
    end
    i32.const -1000
    i32.add)
  (func $caller (param i32) (result i32)
    block $h (result i32)
      try_table (result i32) (catch $e $h)
        (block $r (block $i (block $d (br_table $d $i $r (local.get 0)))
          (return (call $direct (i32.const 1))))
          (return (call $indirect (i32.const 2))))
        (call $by_reference (i32.const 3))
      end
    end)
  (func (export "run_direct") (result i32) (call $caller (i32.const 0)))
  (func (export "run_indirect") (result i32) (call $caller (i32.const 1)))
  (func (export "run_by_reference") (result i32) (call $caller (i32.const 2)))
  (func (export "run_uncaught") (result i32) (call $direct (i32.const 4))))
