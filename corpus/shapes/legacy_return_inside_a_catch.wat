;; The legacy `catch` and `catch_all` are left by `return` and by branches to the function's label, with values below.
;; not-run: wasmtime has no legacy exceptions
(module
  (tag $e (param i32))
  (tag $other)
  (func $throws (param i32)
    (if (local.get 0) (then (throw $e (local.get 0))))
    (throw $other))
  (func $f (param i32) (result i32)
    i32.const 1000 ;; lies below the try, and is dropped on the way out
    try
      (call $throws (local.get 0))
    catch $e
      i32.const 1
      i32.add
      return
    catch_all
      loop
        i32.const 7
        br 2 ;; the function
      end
    end)
  (func $out_of_the_try (param i32) (result i32)
    try (result i32)
      i32.const 20
      local.get 0
      br_if 1 ;; the function
      return
    catch_all
      i32.const -1
    end)
  (func (export "run_catch") (result i32) (call $f (i32.const 5)))
  (func (export "run_catch_all") (result i32) (call $f (i32.const 0)))
  (func (export "run_out_of_the_try") (result i32)
    (i32.add (call $out_of_the_try (i32.const 0)) (call $out_of_the_try (i32.const 1)))))
