;; No identifier and no name section: a person knows the functions by their exports only, and the inner one by its number.
(module
  (import "env" "ping" (func (param i32) (result i32)))
  (func (export "run") (result i32)
    i32.const 1
    call 2)
  (func (export "add two") (export "another name for it") (param i32) (result i32)
    local.get 0
    call 3
    call 3)
  (func (param i32) (result i32)
    local.get 0
    call 0))
