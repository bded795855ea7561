;; Names that tell nothing apart: empty, the same twice, the same as an export or an import, and one of six hundred characters.
(module
  (import "env" "ping" (func $ping (@name "ping") (param i32) (result i32)))
  (func $empty (@name "") (result i32) (i32.const 1))
  (func $empty_too (@name "") (result i32) (i32.const 2))
  (func $same (@name "same") (result i32) (i32.const 3))
  (func $same_too (@name "same") (result i32) (i32.const 4))
  (func $like_the_import (@name "ping") (result i32) (call $ping (i32.const 4)))
  (func $like_the_export (@name "run") (result i32) (i32.const 6))
  (func $long 
    (@name "a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_a_name_that_goes_on_")
    (result i32) (i32.const 7))
  (func $everything (export "run") (result i32)
    (call $empty) (call $empty_too) (call $same) (call $same_too)
    (call $like_the_import) (call $like_the_export) (call $long)
    i32.add i32.add i32.add i32.add i32.add i32.add))
