;; `memory.grow` within the legacy `try`, and in its handler, with the exception's value below.
;; not-run: wasmtime has no legacy exceptions
(module
  (memory (export "memory") 1 4)
  (tag $e (param i32))
  (func $grows_and_throws (param i32)
    (throw $e (memory.grow (local.get 0))))
  (func $f (param $n i32) (result i32)
    try (result i32)
      (drop (memory.grow (i32.const 1)))
      (call $grows_and_throws (local.get $n))
      i32.const 100
    catch $e
      (memory.grow (local.get $n))
      i32.add
    end)
  (func (export "run") (result i32) (call $f (i32.const 1)))
  (func (export "run_refused") (result i32) (call $f (i32.const 7))))
