;; `memory.grow` within a `try_table`, and in the handler behind it, with the exception's value below.
(module
  (memory (export "memory") 1 4)
  (tag $e (param i32))
  (func $grows_and_throws (param i32)
    (throw $e (memory.grow (local.get 0))))
  (func $f (param $n i32) (result i32)
    block $h (result i32)
      try_table (result i32) (catch $e $h)
        (drop (memory.grow (i32.const 1)))
        (call $grows_and_throws (local.get $n))
        i32.const 100
      end
    end
    (memory.grow (local.get $n))
    i32.add)
  (func (export "run") (result i32) (call $f (i32.const 1)))
  (func (export "run_refused") (result i32) (call $f (i32.const 7))))
