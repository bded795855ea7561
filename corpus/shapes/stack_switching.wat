;; Continuations: a module may go through the compiler, but a span may be left and entered by `suspend` and `resume`.
;; not-run: stack switching is not complete in wasmtime
(module
  (type $f (func (result i32)))
  (type $k (cont $f))
  (type $g (func (param i32) (result i32)))
  (type $k_i32 (cont $g))
  (tag $yield (param i32) (result i32))
  (elem declare func $generator $throws)
  (func $generator (type $f)
    (suspend $yield (i32.const 1))
    (suspend $yield (i32.const 2))
    i32.add)
  (func $throws (type $f) (unreachable))
  (func $drive (result i32) (local $k (ref null $k_i32)) (local $sum i32)
    block $first (result i32 (ref $k_i32))
      (resume $k (on $yield $first) (cont.new $k (ref.func $generator)))
      return ;; never suspended
    end
    local.set $k
    local.set $sum
    loop $next
      block $on (result i32 (ref $k_i32))
        (resume $k_i32 (on $yield $on) (local.get $sum) (local.get $k))
        return
      end
      local.set $k
      (local.set $sum (i32.add (local.get $sum)))
      br $next
    end
    unreachable)
  ;; The function's own label as the handler of a suspension.
  (func $suspended_out (result i32 (ref $k_i32))
    (resume $k (on $yield 0) (cont.new $k (ref.func $generator)))
    unreachable)
  (func (export "run") (result i32) call $drive)
  (func (export "run_suspended_out") (result i32)
    call $suspended_out
    drop))
