;; Not a type, not a function: a plan has nothing to hook and nothing may be created for it.
;; not-run: has no function
(module
  (memory (export "memory") 1)
  (global (export "answer") i32 (i32.const 42))
  (table (export "table") 2 funcref)
  (data (i32.const 8) "nothing to do"))
