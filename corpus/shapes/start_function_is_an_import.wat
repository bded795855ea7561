;; The start function is imported: it is not hooked and its index stays.
;; not-run: the tests' host offers no import without parameters
(module
  (import "env" "init" (func $init))
  (func $own (export "own") call $init)
  (start $init))
