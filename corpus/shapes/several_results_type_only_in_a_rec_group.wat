;; `[] -> (i32 i32)` exists only inside a rec group, open and with a supertype: good enough for a block, which looks at nothing but the signature.
(module
  (rec
    (type $node (struct (field (ref null $node)) (field (ref null $make))))
    (type $make (sub (func (result i32 i32)))))
  (type $narrower (sub $make (func (result i32 i32))))
  (func $f (param i32) (result i32 i32)
    local.get 0
    if
      i32.const 1
      i32.const 2
      return
    end
    i32.const 3
    i32.const 4)
  (func (export "run") (result i32)
    (call $f (i32.const 1))
    (call $f (i32.const 0))
    i32.mul
    i32.add
    i32.add))
