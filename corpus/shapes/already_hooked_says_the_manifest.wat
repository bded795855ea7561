;; A module that says by its Manifest that it is hooked, whatever it imports.
;; refused: has a `wasmtrace.manifest` section
(module
  (func (export "run"))
  (@custom "wasmtrace.manifest" "\02\07observe"))
