;; Ordinary branches leave the function from within a `try_table`, whose handlers are in force until then.
(module
  (tag $e)
  (func $leave (param $x i32) (result i32)
    block $caught
      try_table (catch_all $caught)
        i32.const 1
        local.get $x
        i32.const 0
        i32.eq
        br_if 2
        drop
        block
          i32.const 2
          local.get $x
          br_table 3 3 ;; the function, twice
        end
      end
    end
    i32.const 9)
  (func (export "run_br_if") (result i32) (call $leave (i32.const 0)))
  (func (export "run_br_table") (result i32) (call $leave (i32.const 1))))
