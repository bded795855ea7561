;; Every kind of name: module, functions, locals, labels, types, fields, tables, memories, globals, segments and tags; only function indices move in them.
(module $the_module
  (type $signature (func (param i32) (result i32)))
  (type $record (struct (field $first (mut i32)) (field $second (mut i32))))
  (import "env" "ping" (func $imported (type $signature)))
  (tag $exception (param i32))
  (table $functions funcref (elem $named $imported))
  (memory $heap 1)
  (global $counter (mut i32) (i32.const 0))
  (data $greeting "hello")
  (elem $segment func $named)
  (func $named (type $signature)
    (param $argument i32) (result i32)
    (local $temporary i32) (local i64) (local $after_a_gap f32)
    block $outer
      loop $inner
        local.get $argument
        br_if $outer
        i32.const 1
        local.set $argument
        br $inner
      end
    end
    (local.tee $temporary (call $imported (local.get $argument)))
    if $condition
      (global.set $counter (local.get $temporary))
    end
    (return (local.get $temporary)))
  (func (param i32)) ;; has no name of its own
  (func $last (export "run") (result i32)
    (block $only (call_indirect $functions (type $signature) (i32.const 4) (i32.const 0)) (br 1))
    unreachable))
