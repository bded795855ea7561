;; An import throws: the exception crosses a frame and is caught by its tag, which is imported too, and by `catch_all`.
(module
  (import "env" "throw" (func $throw (param i32)))
  (import "env" "thrown" (tag $e (param i32)))
  (func $between (param i32)
    (call $throw (local.get 0)))
  (func $by_its_tag (result i32)
    block $h (result i32)
      try_table (catch $e $h)
        (call $between (i32.const 7))
      end
      i32.const -1
    end)
  (func $whatever_it_is (result i32)
    block $h
      try_table (catch_all $h)
        (call $throw (i32.const 8)) ;; no frame of ours in between
      end
      (return (i32.const -1))
    end
    i32.const 8)
  (func (export "run") (result i32)
    (i32.add (call $by_its_tag) (call $whatever_it_is)))
  (func (export "run_uncaught") (call $between (i32.const 9))))
