;; `br` may name the function's own label, from the body itself and from any depth of block, loop and if.
(module
  (func $from_the_body (result i32)
    i32.const 1
    br 0)

  (func $from_a_loop_and_both_arms (param $x i32) (result i32)
    loop
      block
        local.get $x
        if
          i32.const 10
          br 3
        else
          i32.const 20
          br 3
        end
      end
    end
    unreachable)

  ;; No result: the label takes nothing, and the code below it still runs when nothing branches.
  (func $without_a_result (param $x i32)
    block
      local.get $x
      if
        br 2
      end
    end
    i32.const 7
    global.set $reached)
  (global $reached (mut i32) (i32.const 0))

  (func (export "run") (result i32)
    call $from_the_body
    i32.const 1
    call $from_a_loop_and_both_arms
    i32.add
    i32.const 0
    call $from_a_loop_and_both_arms
    i32.add)
  (func (export "run_without_a_result") (result i32)
    i32.const 1
    call $without_a_result
    global.get $reached
    i32.const 0
    call $without_a_result
    global.get $reached
    i32.add))
