;; What `clang -c` gives: a linker is still to come.
(module
  (func)
  (@custom "linking" (after code) "\02"))
