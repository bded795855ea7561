;; Only imports: imported functions are not hooked, so the code section does not have to be created.
;; not-run: imports a memory and a global, and has no function without parameters
(module
  (import "env" "ping" (func (param i32) (result i32)))
  (import "env" "memory" (memory 1))
  (import "env" "base" (global i32))
  (export "ping" (func 0))
  (export "memory" (memory 0)))
