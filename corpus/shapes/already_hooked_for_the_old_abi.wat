;; A module that imports the hooks already: hooking it again would count everything twice.
;; refused: imports `dylibso:observe/instrument`
(module
  (import "dylibso:observe/instrument" "enter" (func $enter (param i32)))
  (import "dylibso:observe/instrument" "exit" (func $exit (param i32)))
  (import "dylibso:observe/instrument" "memory-grow" (func $memory_grow (param i32)))
  (memory (export "memory") 1)
  (func $f (export "run") (result i32)
    (call $enter (i32.const 3))
    block (result i32)
      i32.const 1
      call $memory_grow
      i32.const 1
      memory.grow
    end
    (call $exit (i32.const 3))))
