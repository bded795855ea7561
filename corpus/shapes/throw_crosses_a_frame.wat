;; An exception crosses frames that have no handler: they never exit, and are closed when the catcher regains control.
(module
  (tag $e (param i32))
  (func $thrower (param i32)
    (throw $e (local.get 0)))
  (func $between (param i32) (result i32)
    (call $thrower (i32.add (local.get 0) (i32.const 1)))
    i32.const 0)
  (func $catcher (result i32)
    block $caught (result i32)
      try_table (catch $e $caught)
        (drop (call $between (i32.const 40)))
      end
      i32.const -1
    end)
  (func $after (result i32) (i32.const 1))
  (func (export "run") (result i32)
    (call $catcher)
    (call $after) ;; a sibling of the catcher, not of the frames crossed
    i32.add)
  ;; Nobody catches it: all frames are crossed, the host gets it.
  (func (export "run_uncaught") (result i32)
    (call $between (i32.const 1))))
