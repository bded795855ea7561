;; What it catches has crossed calls of another module.
(module
  (import "lib" "e" (tag $e (param i32)))
  (import "lib" "thrower" (func $thrower (param i32)))
  (import "lib" "quiet" (func $quiet))
  (func $main (export "_start") (local $n i32)
    (loop $again
      (drop (block $caught (result i32)
        (try_table (catch $e $caught) (call $thrower (i32.const 7)))
        (i32.const 0)))
      (call $quiet)
      (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 3))))))
