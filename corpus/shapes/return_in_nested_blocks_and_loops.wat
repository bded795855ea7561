;; `return` becomes a branch whose depth is the number of labels open at that place.
(module
  (func $f (param $depth i32) (result i32)
    local.get $depth
    i32.eqz
    if
      i32.const 1
      return
    end
    block
      loop $again
        block
          local.get $depth
          i32.const 1
          i32.eq
          if
            i32.const 22
            return
          else
            loop
              i32.const 333
              return
            end
          end
        end
        br $again
      end
    end
    i32.const 0)
  (func (export "run_shallow") (result i32) (call $f (i32.const 0)))
  (func (export "run_deep") (result i32) (call $f (i32.const 1)))
  (func (export "run_deepest") (result i32) (call $f (i32.const 2)))

  ;; 130 labels: the depth of the branch no longer fits one LEB byte.
  (func (export "run_depth_of_two_bytes") (result i32)
    block block block block block block block block block block
    block block block block block block block block block block
    block block block block block block block block block block
    block block block block block block block block block block
    block block block block block block block block block block
    block block block block block block block block block block
    block block block block block block block block block block
    block block block block block block block block block block
    block block block block block block block block block block
    block block block block block block block block block block
    block block block block block block block block block block
    block block block block block block block block block block
    block block block block block block block block block block
      i32.const 130
      return
    end end end end end end end end end end
    end end end end end end end end end end
    end end end end end end end end end end
    end end end end end end end end end end
    end end end end end end end end end end
    end end end end end end end end end end
    end end end end end end end end end end
    end end end end end end end end end end
    end end end end end end end end end end
    end end end end end end end end end end
    end end end end end end end end end end
    end end end end end end end end end end
    end end end end end end end end end end
    i32.const 0))
