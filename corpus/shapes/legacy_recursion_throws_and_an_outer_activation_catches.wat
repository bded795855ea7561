;; The legacy flavour: a function catches what its own recursion threw; several activations have the same id.
;; not-run: wasmtime has no legacy exceptions
(module
  (tag $e (param i32))
  (func $f (param $n i32) (result i32)
    (if (i32.eqz (local.get $n)) (then (throw $e (i32.const 100))))
    ;; only activation 3 has the handler in force when it calls
    (if (i32.ne (local.get $n) (i32.const 3))
      (then (return (i32.add (call $f (i32.sub (local.get $n) (i32.const 1))) (i32.const 1)))))
    try (result i32)
      (call $f (i32.sub (local.get $n) (i32.const 1)))
    catch $e
    end
    (i32.add (local.get $n)))
  (func (export "run") (result i32) (call $f (i32.const 5)))
  (func (export "run_uncaught") (result i32) (call $f (i32.const 2))))
