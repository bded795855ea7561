;; It catches nothing of what it throws.
(module
  (tag $e (export "e") (param i32))
  (func $thrower (export "thrower") (param i32) (throw $e (local.get 0)))
  (func $quiet (export "quiet")))
