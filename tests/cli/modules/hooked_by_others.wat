;; Hooked by the compiler that this ABI comes from: there is no Manifest.
(module
  (import "dylibso:observe/instrument" "enter" (func $enter (param i32)))
  (import "dylibso:observe/instrument" "exit" (func $exit (param i32)))
  (func $f (@name "f") (export "_start")
    (call $enter (i32.const 2))
    (call $exit (i32.const 2))))
