;; An object file for the linker: its symbols name function indices, and what is linked later would be out of step.
;; refused: has a `linking` section
(module
  (import "env" "__linear_memory" (memory 0))
  (import "env" "g" (func $g))
  (func $f (export "f") call $g)
  ;; version 2; subsection 8, symbol table, 9 bytes: two functions, `f` of index 1 and the undefined import
  (@custom "linking" (after code) "\02" "\08\09" "\02" "\00\00\01\01f" "\00\10\00"))
