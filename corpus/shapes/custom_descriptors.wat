;; Types with descriptors and exact references, from the custom-descriptors proposal.
;; not-run: custom descriptors are not complete in wasmtime
(module
  (rec
    (type $object (descriptor $class) (struct (field i32)))
    (type $class (describes $object) (struct (field (ref $method))))
    (type $method (func (param i32) (result i32))))
  (elem declare func $double)
  (func $double (type $method)
    (i32.mul (local.get 0) (i32.const 2)))
  (func $make (param $class (ref (exact $class))) (result (ref (exact $object)))
    (struct.new_desc $object (i32.const 21) (local.get $class)))
  (func $call (param $o (ref $object)) (result i32)
    (call_ref $method
      (struct.get $object 0 (local.get $o))
      (struct.get $class 0 (ref.get_desc $object (local.get $o)))))
  (func (export "run") (result i32)
    (call $call (call $make (struct.new $class (ref.func $double))))))
