;; A trap passes `catch_all` by: no frame regains control, all spans stay open until the host has the trap.
(module
  (func $traps (drop (i32.div_u (i32.const 1) (i32.const 0))))
  (func $would_catch
    block $h
      try_table (catch_all $h)
        call $traps
      end
    end)
  (func (export "run") call $would_catch))
