;; An exception crosses a function that is part of a binding to the manual API, which is left out of what is shown.
(module
  (import "dylibso:observe/api" "span-enter" (func $enter (param i32 i32)))
  (import "dylibso:observe/api" "span-exit" (func $exit))
  (memory (export "memory") 1)
  (data (i32.const 0) "span")
  (tag $e)
  (func $wasmtrace_throws (throw $e))
  (func $opens (call $enter (i32.const 0) (i32.const 4)) (call $wasmtrace_throws))
  (func (export "_start")
    (block $caught (try_table (catch_all $caught) (call $opens)))
    (call $exit)))
