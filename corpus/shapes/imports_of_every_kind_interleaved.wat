;; Functions among imports of the other kinds: the new functions go to the end, and only function indices move.
;; not-run: imports more than the tests' host offers
(module
  (import "m" "memory" (memory 1))
  (import "m" "f0" (func $f0))
  (import "m" "table" (table 1 funcref))
  (import "m" "global" (global $g (mut i64)))
  (import "m" "f1" (func $f1 (param i64)))
  (import "m" "tag" (tag $t (param i32)))
  (import "m" "f1" (func $f1_again (param i64))) ;; the same name twice is two imports
  (import "m" "typed" (global (ref null func)))
  (func $own (export "own")
    call $f0
    (call $f1 (global.get $g))
    (call $f1_again (i64.const 1))
    (throw $t (i32.const 2)))
  (start $own))
