//! Components that contain each kind of definition. Each exports a function `go` of a core module, so that one can be
//! selected.

/// Two components, one of which calls the other. Strings cross the border.
pub(crate) const COMPOSED: &str = r#"(component $root
  (component $A
    (core module $m (memory (export "memory") 1)
      (func (export "alloc") (param i32 i32 i32 i32) (result i32) i32.const 64)
      (func (export "go") (param i32 i32) (result i32) local.get 1)
      (func (export "post") (param i32)))
    (core instance $i (instantiate $m))
    (func $len (param "s" string) (result u32) (canon lift (core func $i "go") string-encoding=utf8
      (memory (core memory $i "memory")) (realloc (core func $i "alloc")) (post-return (core func $i "post"))))
    (instance $api (export "len" (func $len)))
    (export "t:t/api" (instance $api)))
  (component $B
    (import "t:t/api" (instance $api (export "len" (func (param "s" string) (result u32)))))
    (core module $libc (memory (export "memory") 1)
      (func (export "alloc") (param i32 i32 i32 i32) (result i32) i32.const 2048))
    (core instance $libc (instantiate $libc))
    (core func $len (canon lower (func $api "len") (memory (core memory $libc "memory"))))
    (core module $m (import "t:t/api" "len" (func $len (param i32 i32) (result i32)))
      (func (export "go") (param i32) (result i32) i32.const 16 local.get 0 call $len))
    (core instance $i (instantiate $m (with "t:t/api" (instance (export "len" (func $len))))))
    (func (export "go") (param "n" u32) (result u32) (canon lift (core func $i "go"))))
  (instance $a (instantiate $A))
  (instance $b (instantiate $B (with "t:t/api" (instance $a "t:t/api"))))
  (export "go" (func $b "go")))"#;

/// A component with two instances, in which a core module has two instances.
pub(crate) const TWICE: &str = r#"(component
  (component $C
    (core module $m (func (export "go") (param i32) (result i32) local.get 0))
    (core instance $x (instantiate $m))
    (core instance $y (instantiate $m))
    (func (export "x") (param "n" u32) (result u32) (canon lift (core func $x "go")))
    (func (export "y") (param "n" u32) (result u32) (canon lift (core func $y "go"))))
  (instance $p (instantiate $C))
  (instance $q (instantiate $C))
  (export "px" (func $p "x"))
  (export "qy" (func $q "y")))"#;

/// Aliases of the definitions of outer components: types, core types, modules and components, before and behind the
/// hooks.
pub(crate) const OUTER: &str = r#"(component
  (type $early (func (param "n" u32) (result u32)))
  (core type $signature (func (param i32) (result i32)))
  (core module $shared (func (export "go") (param i32) (result i32) local.get 0))
  (core instance $first (instantiate $shared))
  (type $record (record (field "a" u32) (field "b" u32)))
  (type $late (func (param "n" u32) (result u32)))
  (core type $module (module (alias outer 1 $signature (type $s)) (export "go" (func (type $s)))))
  (core module $later (func (export "go") (param i32) (result i32) i32.const 3))
  (component $N
    (alias outer 1 $late (type $t))
    (type $inner (instance
      (alias outer 2 $record (type $r)) (export "r" (type $r2 (eq $r)))
      (type $deeper (component
        (alias outer 3 $record (type $r)) (import "a" (type (eq $r)))
        (alias outer 1 $r2 (type $r3)) (import "b" (type (eq $r3)))))
      (export "h" (func (param "x" u32)))))
    (core module $m (func (export "go") (param i32) (result i32) i32.const 5))
    (core instance $i (instantiate $m))
    (core instance $j (instantiate $later))
    (type $own (func (param "n" u32) (result u32)))
    (component $NN
      (alias outer 2 $late (type $t))
      (alias outer 1 $own (type $u))
      (core instance $i (instantiate $shared))
      (func (export "t") (type $t) (canon lift (core func $i "go")))
      (func (export "u") (type $u) (canon lift (core func $i "go"))))
    (instance $nn (instantiate $NN))
    (func (export "i") (type $t) (canon lift (core func $i "go")))
    (func (export "j") (type $t) (canon lift (core func $j "go")))
    (export "nn" (func $nn "u")))
  (component $unused (alias outer 1 $N (component $n)) (export "n" (component $n)))
  (instance $n (instantiate $N))
  (core instance $second (instantiate $later))
  (func (export "f") (type $early) (canon lift (core func $first "go")))
  (func (export "g") (type $late) (canon lift (core func $second "go")))
  (export "i" (func $n "i")))"#;

/// A resource with a destructor.
pub(crate) const RESOURCE: &str = r#"(component
  (core module $d (func (export "dtor") (param i32)))
  (core instance $d (instantiate $d))
  (type $r' (resource (rep i32) (dtor (core func $d "dtor"))))
  (export $r "r" (type $r'))
  (core func $new (canon resource.new $r))
  (core func $rep (canon resource.rep $r))
  (core func $drop (canon resource.drop $r))
  (core module $m
    (import "" "new" (func $new (param i32) (result i32)))
    (import "" "rep" (func $rep (param i32) (result i32)))
    (import "" "drop" (func $drop (param i32)))
    (func (export "go") (param i32) (result i32) local.get 0 call $new)
    (func (export "rep") (param i32) (result i32) local.get 0))
  (core instance $i (instantiate $m (with ""
    (instance (export "new" (func $new)) (export "rep" (func $rep)) (export "drop" (func $drop))))))
  (type $own (own $r))
  (type $borrow (borrow $r))
  (func (export "make") (param "n" u32) (result $own) (canon lift (core func $i "go")))
  (func (export "read") (param "r" $borrow) (result u32) (canon lift (core func $i "rep"))))"#;

/// A function with `realloc` and `post-return`, which are forwarded by a list of exports.
pub(crate) const STRINGS: &str = r#"(component
  (core module $m (memory (export "memory") 1) (memory (export "other") 1)
    (func (export "alloc") (param i32 i32 i32 i32) (result i32) i32.const 64)
    (func (export "alloc2") (param i32 i32 i32 i32) (result i32) i32.const 128)
    (func (export "post") (param i32))
    (func (export "go") (param i32 i32) (result i32) local.get 1)
    (func (export "back") (param i32 i32) (result i32) local.get 0))
  (core instance $i (instantiate $m))
  (core instance $l (export "alloc" (func $i "alloc")))
  (func (export "go") (param "s" string) (result u32) (canon lift (core func $i "go")
    (memory (core memory $i "memory")) (realloc (core func $l "alloc")) (post-return (core func $i "post"))))
  (func (export "back") (param "s" string) (result u32) (canon lift (core func $i "back") string-encoding=utf16
    (memory (core memory $i "memory")) (realloc (core func $i "alloc")))))"#;

/// A module with a start function, and a module whose import of a module is the function of another.
pub(crate) const START: &str = r#"(component
  (core module $s (func $go (export "go")) (start $go))
  (core instance $s (instantiate $s))
  (core module $m (import "s" "go" (func)) (export "go" (func 0)) (func (export "own")))
  (core instance $m (instantiate $m (with "s" (instance $s))))
  (func (export "go") (canon lift (core func $m "go"))))"#;

/// A module and a component that are exported, next to a module that is hooked.
pub(crate) const EXPORTED: &str = r#"(component
  (core module $m (func (export "f")))
  (export "m" (core module $m))
  (core instance (instantiate $m))
  (component $c (core module $x (func (export "f"))) (core instance (instantiate $x)))
  (export "c" (component $c))
  (core module $k (func (export "go") (param i32) (result i32) local.get 0))
  (core instance $i (instantiate $k))
  (func (export "go") (param "n" u32) (result u32) (canon lift (core func $i "go"))))"#;

/// Definitions of each kind, with names, behind the hooks: nearly each of their indices moves.
pub(crate) const NAMES: &str = r#"(component $all
  (import "host:host/api" (instance $host
    (export "thing" (type $thing (sub resource)))
    (export "make" (func (param "n" u32) (result (own $thing))))))
  (import "plain" (func $plain (param "n" u32) (result u32)))
  (core module $m (memory (export "memory") 1) (table (export "table") 1 funcref)
    (global (export "global") i32 i32.const 0) (tag (export "tag"))
    (func (export "go") (param i32) (result i32) local.get 0)
    (func (export "use") (param i32)))
  (core instance $i (instantiate $m))
  (alias core export $i "go" (core func $go))
  (alias core export $i "use" (core func $use))
  (alias core export $i "memory" (core memory $memory))
  (alias core export $i "table" (core table $table))
  (alias core export $i "global" (core global $global))
  (alias core export $i "tag" (core tag $tag))
  (core instance $list (export "go" (func $go)) (export "memory" (memory $memory)) (export "table" (table $table))
    (export "global" (global $global)) (export "tag" (tag $tag)))
  (alias export $host "thing" (type $thing))
  (alias export $host "make" (func $make))
  (core func $drop (canon resource.drop $thing))
  (core func $lowered (canon lower (func $make)))
  (core func $plain' (canon lower (func $plain) (memory $memory)))
  (type $record (record (field "a" u32) (field "b" string)))
  (type $variant (variant (case "none") (case "some" $record)))
  (type $list' (list $record))
  (type $tuple (tuple $record $variant))
  (type $flags (flags "a" "b"))
  (type $enum (enum "a" "b"))
  (type $option (option $tuple))
  (type $result (result $list' (error $enum)))
  (type $own (own $thing))
  (type $borrow (borrow $thing))
  (type $pass (func (param "n" u32) (result u32)))
  (type $take (func (param "t" $borrow)))
  (type $many (func (param "a" $option) (param "b" $flags) (result $result)))
  (type $interface (instance (export "x" (func (param "a" u32)))))
  (type $world (component (import "i" (instance (export "x" (func)))) (export "o" (func))))
  (func $lifted (type $pass) (canon lift (core func $go)))
  (func $taken (type $take) (canon lift (core func $use)))
  (instance $bag (export "a" (func $lifted)) (export "r" (type $record)))
  (component $sub (import "f" (func $f (param "n" u32) (result u32))) (export "g" (func $f)))
  (instance $s (instantiate $sub (with "f" (func $lifted))))
  (export $go' "go" (func $lifted) (func (type $pass)))
  (export "again" (func $go'))
  (export "take" (func $taken))
  (export "bag" (instance $bag))
  (export "g" (func $s "g"))
  (@custom "mine" "bytes"))"#;

/// All components of this file, with their names.
pub(crate) const COMPONENTS: [(&str, &str); 8] = [
    ("composed", COMPOSED),
    ("twice", TWICE),
    ("outer", OUTER),
    ("resource", RESOURCE),
    ("strings", STRINGS),
    ("start", START),
    ("exported", EXPORTED),
    ("names", NAMES),
];
