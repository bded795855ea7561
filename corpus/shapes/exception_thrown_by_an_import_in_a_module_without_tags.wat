;; No tag anywhere, but `catch_all` and an import that throws: frames are crossed in a module that cannot throw by itself.
(module
  (import "env" "throw" (func $throw (param i32)))
  (func $between (result i32)
    (call $throw (i32.const 1))
    i32.const 0)
  (func $after (result i32) (i32.const 2))
  (func (export "run") (result i32)
    block $h
      try_table (catch_all $h)
        (return (call $between))
      end
    end
    call $after)
  (func (export "run_uncaught") (result i32) call $between))
