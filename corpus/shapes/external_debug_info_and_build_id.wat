;; Sections that point to files elsewhere: `external_debug_info`, `sourceMappingURL`, `build_id`; after a rewrite they speak of other bytes.
(module
  (@custom "external_debug_info" (after last) "\12app.debug.wasm#dwo")
  (@custom "sourceMappingURL" (after last) "\10app.wasm.map?v=1")
  (@custom "build_id" (after last) "\08\01\23\45\67\89\ab\cd\ef")
  (func $f (result i32) (i32.const 1))
  (func (export "run") (result i32) call $f))
