;; Branch hints name byte offsets inside a function: the entry hook, a wider call and a rewritten `return` move them by different amounts.
(module
  (func $leaf (param i32) (result i32) (local.get 0))
  (func $f (param $x i32) (result i32)
    local.get $x
    (@metadata.code.branch_hint "\00")
    if
      i32.const 1
      return ;; one byte becomes two
    end
    block
      block
        local.get $x
        call $leaf
        (@metadata.code.branch_hint "\01")
        br_if 0
        i32.const 2
        return
      end
      local.get $x
      (@metadata.code.branch_hint "\00")
      if
        nop
      end
    end
    i32.const 3)
  (func $without_hints (result i32)
    (call $f (i32.const 0)))
  (func $again (param $x i32)
    local.get $x
    (@metadata.code.branch_hint "\01")
    br_if 0
    unreachable)
  (func (export "run") (result i32)
    (call $again (i32.const 1))
    (call $without_hints)))
