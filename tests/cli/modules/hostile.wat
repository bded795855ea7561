;; Every name that a module can carry holds an escape sequence, a line end or a mark that reorders text.
(module (@name "\1b]0;module\07")
  (import "\1b[31mm" "\1b[32mn" (func))
  (memory (export "\1b[33mmemory\n") 1)
  (func (@name "\1b[34mfirst\nsecond\u{202e}") (export "\1b[35mexport\r") (call 2 (i32.const 0)))
  (func (@name "\08\08\08hidden") (param $p (@name "\1b[36mlocal") i32) unreachable)
  (@custom "\1b[37msection\n" "")
  (@custom ".debug_\1b[1m" ""))
