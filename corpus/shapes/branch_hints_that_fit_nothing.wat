;; Hints for offsets where no instruction begins, for a function that does not exist, and a section cut short: kept or dropped, never an error.
(module
  (func $f (param i32) (result i32)
    block
      local.get 0
      br_if 0
    end
    i32.const 1)
  (func (export "run") (result i32) (call $f (i32.const 1)))
  ;; function 0: offset 4 (inside an instruction), offset 100; function 99: offset 1
  (@custom "metadata.code.branch_hint" (before code) "\02" "\00\02" "\04\01\00" "\64\01\01" "\63\01" "\01\01\00")
  ;; once more, and it promises more than it holds
  (@custom "metadata.code.branch_hint" (before code) "\05\00"))
