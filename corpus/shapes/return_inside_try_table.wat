;; `return` inside a `try_table` must not be caught by it, whichever clauses it has.
(module
  (tag $e (param i32))
  (func $f (param $x i32) (result i32)
    block $any
      block $e (result i32)
        try_table (catch $e $e) (catch_all $any)
          local.get $x
          if
            i32.const 10
            return
          end
          i32.const 20
          throw $e
        end
        i32.const 30
        return
      end
      i32.const 1
      i32.add
      return
    end
    i32.const 40)
  (func (export "run_returned") (result i32) (call $f (i32.const 1)))
  (func (export "run_caught") (result i32) (call $f (i32.const 0))))
