;; an exception that unwinds two calls and is caught in a third, once through another core module
(component
  (core module $lib
    (tag $t (export "t") (param i32))
    (func $raise (param i32) local.get 0 throw $t)
    (func (export "raise") (param i32) local.get 0 call $raise))
  (core instance $lib (instantiate $lib))
  (core module $m
    (import "lib" "t" (tag $t (param i32)))
    (import "lib" "raise" (func $raise (param i32)))
    (func $middle (param i32) local.get 0 call $raise)
    (func $catches (param i32) (result i32)
      block (result i32)
        try_table (catch $t 0)
          local.get 0 call $middle
        end
        i32.const -1
      end)
    (func (export "go") (param i32) (result i32) local.get 0 call $catches local.get 0 call $catches i32.add))
  (core instance $i (instantiate $m (with "lib" (instance $lib))))
  (func (export "go") (param "n" u32) (result u32) (canon lift (core func $i "go"))))
