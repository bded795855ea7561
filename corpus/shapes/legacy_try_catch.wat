;; The legacy `try` with `catch` and `catch_all`: control comes back right behind the `catch`.
;; not-run: wasmtime has no legacy exceptions
(module
  (tag $e (param i32))
  (func $throws (param i32)
    (throw $e (local.get 0)))
  (func $catches (param i32) (result i32)
    try (result i32)
      (call $throws (local.get 0))
      i32.const 0
    catch $e
      i32.const 1
      i32.add
    catch_all
      i32.const -1
    end)
  ;; The result leaves by the function's label and by `return`, out of the body and out of the handlers.
  (func $leaves (param i32) (result i32)
    try
      i32.const 1
      local.get 0
      br_if 1
      drop
      i32.const 2
      return
    catch $e
      br 1
    catch_all
      i32.const 4
      return
    end
    i32.const 5)
  (func $empty_try
    try
    end)
  (func (export "run") (result i32)
    call $empty_try
    (i32.add (call $catches (i32.const 1)) (call $leaves (i32.const 0)))))
