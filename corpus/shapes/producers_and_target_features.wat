;; `producers` and `target_features`, as LLVM writes them: the first gains an entry, the second may not tell less than is true.
(module
  (@producers
    (language "Rust" "2021")
    (processed-by "rustc" "1.95.0")
    (processed-by "wasm-opt" "version_123"))
  ;; + bulk-memory, + multivalue, - atomics
  (@custom "target_features" (after last) "\03" "+\0bbulk-memory" "+\0amultivalue" "-\07atomics")
  (func $f (result i32) (i32.const 1))
  (func (export "run") (result i32) call $f))
