;; A small command: names with paths, an import that every host has, a function that nobody calls.
(module $app
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func $app::main (@name "app::main") (export "_start")
    (drop (call $app::db::open (i32.const 2))))
  (func $app::db::open (@name "app::db::open") (param i32) (result i32)
    (i32.add (call $core::id (local.get 0)) (call $core::id (i32.const 3))))
  (func $core::id (@name "core::id") (param i32) (result i32)
    local.get 0)
  (func $app::unused (@name "app::unused") (export "sum") (param i32 i32) (result i32)
    (local $i i32)
    (loop $l (br_if $l (i32.eqz (i32.const 1))))
    (i32.add (local.get 0) (local.get 1))))
