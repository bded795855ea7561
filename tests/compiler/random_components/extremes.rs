//! Theorem: extremely large components are hooked or refused within seconds, on the stack of any thread.

use std::time::{Duration, Instant};

use wasmtrace::{ErrorKind, component};

use super::hooked::{Outcome, Seen, is_hooked, options};
use super::tree::{Section, Tree, id, number};
use super::{SETS, is_valid};

/// In the dev profile, for one component.
const LONGEST: Duration = Duration::from_secs(10);

/// What happens to the component with each hook set, on a small stack.
fn outcome(wasm: &[u8]) -> Outcome {
    let begin = Instant::now();
    let seen = Seen::default();
    let on_a_small_stack = || is_hooked(wasm, SETS[0], &seen);
    let outcome = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(1 << 20).spawn_scoped(scope, on_a_small_stack).unwrap();
        thread.join().unwrap()
    });
    let took = begin.elapsed();
    println!("{} bytes: {outcome:?} in {took:.1?}; {seen}", wasm.len());
    assert!(took < LONGEST, "{took:?}");
    outcome
}

fn refused(wasm: &[u8]) -> ErrorKind {
    let begin = Instant::now();
    let kind = component::instrument(wasm, &options(SETS[0])).unwrap_err().kind();
    for result in [component::strip(wasm).map(drop), component::check_hooks(wasm).map(drop)] {
        assert_eq!(result.unwrap_err().kind(), kind);
    }
    assert_eq!(component::verify(wasm, wasm).unwrap_err().kind(), kind);
    assert!(begin.elapsed() < LONGEST, "{:?}", begin.elapsed());
    kind
}

fn parse(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap()
}

const MODULE: &str = r#"(module (func (export "go") (param i32) (result i32) local.get 0))"#;

/// A component with `inner` in `depth` components, each of which has an instance of the inner one.
fn nested(depth: usize, inner: &[u8]) -> Vec<u8> {
    let instance = [id::INSTANCE, 4, 1, 0, 0, 0];
    // From the inside: the length of each component.
    let mut headers = Vec::new();
    let mut length = inner.len();
    for _ in 0..depth {
        let mut header = b"\0asm\x0d\0\x01\0".to_vec();
        header.push(id::COMPONENT);
        number(length, 1, &mut header);
        length += header.len() + instance.len();
        headers.push(header);
    }
    let mut out: Vec<u8> = headers.into_iter().rev().flatten().collect();
    out.extend_from_slice(inner);
    out.extend(instance.repeat(depth));
    out
}

#[test]
fn nested_components() {
    let inner = parse(&format!("(component (core {} (core instance (instantiate 0)))", MODULE.replacen('(', "", 1)));
    assert_eq!(outcome(&nested(20, &inner)), Outcome::Hooked);
    assert_eq!(outcome(&nested(98, &inner)), Outcome::Hooked);
    assert_eq!(refused(&nested(10_000, &inner)), ErrorKind::Limit);
}

/// A component with a type in `depth` types.
fn nested_types(depth: usize, kind: u8) -> Vec<u8> {
    let mut contents = vec![1];
    (0..depth).for_each(|_| contents.extend([kind, 1, 1]));
    contents.push(0x7f);
    Tree::new(vec![Section::Other { id: 7, contents }]).encode(1)
}

#[test]
fn nested_types_are_refused() {
    for kind in [0x41, 0x42] {
        assert_eq!(outcome(&nested_types(90, kind)), Outcome::Same);
        for depth in [101, 1000, 20_000] {
            assert_eq!(refused(&nested_types(depth, kind)), ErrorKind::Limit, "{depth}");
        }
    }
}

/// A component with so many core modules and instances of each.
fn modules(count: usize, instances: usize, module: &[u8]) -> Tree {
    let mut sections: Vec<Section> = (0..count).map(|_| Section::Module(module.to_vec())).collect();
    for module in 0..count {
        let mut item = vec![0];
        number(module, 1, &mut item);
        item.push(0);
        sections.push(Section::Items { id: id::CORE_INSTANCE, items: vec![item; instances] });
    }
    Tree::new(sections)
}

#[test]
fn many_modules_and_instances() {
    let module = parse(MODULE);
    // A component has at most 1,000 modules and 1,000 instances, and the hooks need some of them.
    assert_eq!(outcome(&modules(200, 1, &module).encode(1)), Outcome::Hooked);
    assert_eq!(outcome(&modules(1, 200, &module).encode(1)), Outcome::Hooked);
    assert_eq!(outcome(&modules(1000, 0, &module).encode(1)), Outcome::Same);
    for wasm in [modules(1, 1000, &module), modules(1000, 1, &module)] {
        assert!(is_valid(&wasm.encode(1)));
        assert_eq!(outcome(&wasm.encode(1)), Outcome::Refused);
    }
}

/// A component of components, each with so many modules of the same name.
pub(super) fn equal_names(components: usize, modules_in_each: usize) -> Vec<u8> {
    let module = parse(r#"(module $same (func (export "go")))"#);
    let inner = modules(modules_in_each, 0, &module);
    Tree::new((0..components).map(|_| Section::Component(inner.clone())).collect()).encode(1)
}

#[test]
fn equal_names_are_numbered() {
    let module = parse(r#"(module $same (func (export "go")))"#);
    assert_eq!(outcome(&modules(200, 1, &module).encode(1)), Outcome::Hooked);
    assert_eq!(outcome(&equal_names(2, 300)), Outcome::Same);
}

#[test]
fn long_names() {
    let name = "n".repeat(99_999);
    let wat = format!(
        r#"(component ${name} (core module ${name} (memory (export "memory") 1)
          (func ${name} (export "{name}") (param i32) (result i32) local.get 0))
        (core instance ${name} (instantiate ${name}))
        (func ${name} (param "{name}" u32) (result u32) (canon lift (core func ${name} "{name}")))
        (export "{name}" (func ${name})))"#
    );
    assert_eq!(outcome(&parse(&wat)), Outcome::Hooked);
}

/// Many small definitions behind the hooks.
#[test]
fn many_definitions() {
    let mut wat = String::from("(component (core ");
    wat.push_str(&MODULE.replacen("(module", "module $m", 1));
    wat.push_str("(core instance $i (instantiate $m))");
    for at in 0..1500 {
        wat.push_str(&format!(
            r#"(type $t{at} (func (param "n" u32) (result u32)))
            (func $f{at} (type $t{at}) (canon lift (core func $i "go"))) (export "e{at}" (func $f{at}))"#
        ));
    }
    wat.push(')');
    assert_eq!(outcome(&parse(&wat)), Outcome::Hooked);
}
