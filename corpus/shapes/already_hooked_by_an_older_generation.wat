;; A module whose hooks are of the first generation: around direct calls, without an id.
;; refused: imports `dylibso_observe`
(module
  (import "dylibso_observe" "instrument_enter" (func $enter))
  (import "dylibso_observe" "instrument_exit" (func $exit))
  (func $f)
  (func (export "run")
    call $enter
    call $f
    call $exit))
