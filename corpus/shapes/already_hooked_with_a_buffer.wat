;; A module that imports the hooks of a buffer already.
;; refused: imports `wasmtrace:recorder`
(module
  (import "wasmtrace:recorder" "flush" (func $flush))
  (func (export "run") call $flush))
