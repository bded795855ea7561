(module
  (func $f
    (i32.frob)))
