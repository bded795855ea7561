//! Components on which a theorem of this folder has failed once, as small as they can be. Tests of faults that are known
//! and not mended yet are ignored.

use std::time::{Duration, Instant};

use wasmtrace::component;

use super::behaviour::{Runs, behaves_the_same};
use super::extremes::equal_names;
use super::hooked::{Outcome, Seen, is_hooked, options};
use super::tree::{Section, Tree, id};
use super::{SETS, is_valid};

/// All theorems of valid components.
fn holds(wasm: &[u8]) {
    assert!(is_valid(wasm));
    for set in SETS {
        if is_hooked(wasm, set, &Seen::default()) == Outcome::Refused {
            return;
        }
    }
    behaves_the_same(wasm, &Runs::default());
}

fn parse(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap()
}

/// The rest of a component with a module `$m` and a memory in `$l`.
const LIFTED: &str = r#"(func (export "go") (param "s" string) (result u32) (canon lift (core func $i "go")
  (memory (core memory $l "memory")) (realloc (core func $l "realloc"))))"#;

/// A `realloc` that ends with a tail call has no hook behind the callee, during which the instance must not be left.
#[test]
fn a_realloc_that_ends_with_a_tail_call() {
    holds(&parse(&format!(
        r#"(component
          (core module $m (memory (export "memory") 1)
            (func $tick (param i32) (result i32) i32.const 64)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) local.get 0 return_call $tick)
            (func (export "go") (param i32 i32) (result i32) local.get 1))
          (core instance $i (instantiate $m))
          {})"#,
        LIFTED.replace("$l", "$i")
    )));
}

/// A `post-return` that does so.
#[test]
fn a_post_return_that_ends_with_a_tail_call() {
    holds(&parse(
        r#"(component
          (core module $m
            (func $tick (param i32) (local $n i32) (local.set $n (i32.const 3000))
              (loop (call $tock) (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
            (func $tock)
            (func (export "post") (param i32) local.get 0 return_call $tick)
            (func (export "go") (param i32) (result i32) local.get 0))
          (core instance $i (instantiate $m))
          (func (export "go") (param "n" u32) (result u32)
            (canon lift (core func $i "go") (post-return (core func $i "post")))))"#,
    ));
}

/// The module of a `realloc` that calls a hooked function is an argument, so it has no hooks itself.
#[test]
fn a_realloc_of_a_module_that_is_an_argument() {
    holds(&parse(&format!(
        r#"(component
          (component $C
            (import "libc" (core module $libc (import "" "note" (func (param i32)))
              (export "memory" (memory 1)) (export "realloc" (func (param i32 i32 i32 i32) (result i32)))))
            (core module $note (func (export "note") (param i32)))
            (core instance $note (instantiate $note))
            (core instance $l (instantiate $libc (with "" (instance $note))))
            (core module $m (func (export "go") (param i32 i32) (result i32) local.get 1))
            (core instance $i (instantiate $m))
            {LIFTED})
          (core module $libc (import "" "note" (func $note (param i32))) (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1 call $note i32.const 64))
          (instance $c (instantiate $C (with "libc" (core module $libc))))
          (export "go" (func $c "go")))"#
    )));
}

/// That module is an export of an instance.
#[test]
fn a_realloc_of_a_module_that_is_an_export() {
    holds(&parse(&format!(
        r#"(component
          (component $D
            (core module $libc (import "" "note" (func $note (param i32))) (memory (export "memory") 1)
              (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1 call $note i32.const 64))
            (export "libc" (core module $libc)))
          (instance $d (instantiate $D))
          (alias export $d "libc" (core module $libc))
          (core module $note (func (export "note") (param i32)))
          (core instance $note (instantiate $note))
          (core instance $l (instantiate $libc (with "" (instance $note))))
          (core module $m (func (export "go") (param i32 i32) (result i32) local.get 1))
          (core instance $i (instantiate $m))
          {LIFTED})"#
    )));
}

/// `wasm-encoder` writes an alias of an exact function as one of a function.
#[test]
fn an_alias_of_an_exact_function() {
    let mut tree = Tree::parse(&parse(ONE)).unwrap();
    for section in &mut tree.sections {
        if let Section::Items { id: 6, items } = section {
            items[0][1] = 0x20;
        }
    }
    holds(&tree.encode(1));
}

const ONE: &str = r#"(component (core module $m (func (export "go") (result i32) i32.const 7))
  (core instance $i (instantiate $m)) (func (export "go") (result u32) (canon lift (core func $i "go"))))"#;

/// The last section claims more bytes than the file has. `wasmparser` and engines accept that for modules and components.
#[test]
fn a_last_section_that_is_longer_than_the_file() {
    let mut module = b"\0asm\x0d\0\x01\0\x01\x20\0asm\x01\0\0\0".to_vec();
    for _ in 0..2 {
        for set in SETS {
            assert!(component::instrument(&module, &options(set)).is_err());
        }
        assert!(component::read(&module, &options(SETS[0])).is_err());
        assert!(component::verify(&module, &module).is_err());
        assert!(component::strip(&module).is_err());
        module[8] = id::COMPONENT;
        module[14..18].copy_from_slice(b"\x0d\0\x01\0");
    }
}

/// The modules of the original are all but the hook modules, whatever their names are.
#[test]
fn the_modules_of_a_hooked_component() {
    let two_groups = r#"(component
      (core module $b (func (export "go"))) (core instance (instantiate $b))
      (component $C (core module $a (func (export "go"))) (core instance (instantiate $a)))
      (instance (instantiate $C)))"#;
    let equal_names = r#"(component
      (core module $wasmtrace:hooks (func (export "go"))) (core instance (instantiate $wasmtrace:hooks))
      (core module $wasmtrace:buffer (func (export "go"))) (core instance (instantiate $wasmtrace:buffer)))"#;
    let names = |wasm: &[u8]| {
        let modules = component::read(wasm, &options(SETS[0])).unwrap().modules;
        modules.iter().map(|module| module.name.clone()).collect::<Vec<_>>()
    };
    for wasm in [two_groups, equal_names].map(parse) {
        for set in SETS {
            assert_eq!(names(&component::instrument(&wasm, &options(set)).unwrap().wasm), names(&wasm));
        }
    }
}

/// Another module gets the functions of the host, and calls them with addresses of its own: a host would write behind
/// the end of the memory.
#[test]
fn another_module_that_calls_the_host() {
    let hooked = component::instrument(&parse(ONE), &options(SETS[0])).unwrap().wasm;
    let mut tree = Tree::parse(&hooked).unwrap();
    let manifest = tree.sections.pop().unwrap();
    let evil = r#"(module (import "h" "flush" (func $flush (param i32 i32 i32)))
      (func (export "go") (result i32) (call $flush (i32.const 2162680) (i32.const 4) (i32.const 0)) (i32.const 7)))"#;
    tree.sections.push(Section::Module(parse(evil)));
    // The core instance 1 is the `host` of the hook module.
    let mut list = |id: u8, item: &[u8]| tree.sections.push(Section::Items { id, items: vec![item.to_vec()] });
    list(id::CORE_INSTANCE, b"\x00\x03\x01\x01h\x12\x01");
    list(6, b"\x00\x00\x01\x05\x02go");
    list(8, b"\x00\x00\x0a\x00\x01");
    list(id::EXPORT, b"\x00\x04evil\x01\x04\x00");
    tree.sections.push(manifest);
    let wasm = tree.encode(1);
    assert!(is_valid(&wasm));
    assert!(component::check_hooks(&wasm).is_err());
}

/// The time is in proportion to the number of modules of the same name.
#[test]
#[ignore = "measures time: only for a quiet machine"]
fn many_modules_of_one_name() {
    let wasm = equal_names(8, 1000);
    let begin = Instant::now();
    component::instrument(&wasm, &options(SETS[0])).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

/// The smallest id of an instance is so large that ids overflow.
#[test]
fn ids_that_are_too_large() {
    let hooked = component::instrument(&parse(ONE), &options(SETS[0])).unwrap().wasm;
    let mut tree = Tree::parse(&hooked).unwrap();
    for section in &mut tree.sections {
        // `first_probe << 2 | kind` in the functions `enter` and `exit` of the hook module.
        if let Section::Module(bytes) = section {
            let shift = b"\x41\x02\x74\x41";
            let places: Vec<usize> = (4..bytes.len()).filter(|at| bytes[..*at].ends_with(shift)).collect();
            places.into_iter().for_each(|at| bytes[at] = bytes[at].wrapping_sub(4) & 0x7f);
        }
    }
    let Some(Section::Other { contents, .. }) = tree.sections.last_mut() else { panic!("there is a Manifest") };
    let at = contents.windows(6).position(|name| name == b"buffer").unwrap() + 6 + 32 + 2;
    contents.splice(at..=at, *b"\xff\xff\xff\xff\x0f");
    let wasm = tree.encode(1);
    let too_large = component::check_hooks(&wasm).map(|manifest| manifest.unwrap().instances[0].first_probe);
    assert!(too_large.is_err(), "{too_large:?}");
}

/// An exported type of functions is no function.
#[test]
fn a_call_of_a_type() {
    use wasmtrace::runtime::{Config, Invoke, run};
    let wasm = parse(r#"(component (type $t (func)) (export "z" (type $t)))"#);
    let invoke = Some(Invoke { function: "z()".to_owned(), args: Vec::new() });
    let e = run(&wasm, &Config { invoke, ..Config::default() }, |_| {}).unwrap_err();
    assert!(e.to_string().contains("no exported function"), "{e}");
}
