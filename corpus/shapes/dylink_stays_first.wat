;; `dylink.0` has to be the first section of a shared library, in front of everything that is added.
;; not-run: a loader has to place it at a base
(module
  (@dylink.0
    (mem-info (memory 16 4) (table 1 0))
    (needed "libc.so")
    (export-info "f" binding-weak)
    (import-info "env" "g" undefined))
  (import "env" "memory" (memory 1))
  (import "env" "__indirect_function_table" (table 1 funcref))
  (import "env" "__memory_base" (global $memory_base i32))
  (import "env" "__table_base" (global $table_base i32))
  (import "env" "g" (func $g (result i32)))
  (import "GOT.func" "f" (global $got_f (mut i32)))
  (elem (global.get $table_base) func $f)
  (data (global.get $memory_base) "relocated")
  (func $f (export "f") (result i32)
    (i32.add (call $g) (global.get $got_f)))
  (func (export "__wasm_call_ctors")))
