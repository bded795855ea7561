//! Shapes that are too large to be written down: at limits of engines and where numbers become a byte longer, what is hooked
//! still does what it did, and its hooks see all of it (oracles 5 and 6 of `docs/oracles.md`, as in `tests/running/running.rs`).

use testing::balance::{assert_balanced, probes};
use testing::hooked_with;
use testing::host::{Host, Session};
use testing::same::{assert_same_call, by_rank};
use wasmtrace::hook::{HOOK_SETS, HookSet};
use wasmtrace::rewrite::Rewritten;

const MOST_LOCALS: u32 = 50_000;

/// Calls an export without hooks and with them, and holds one against the other.
fn run(wasm: &[u8], out: &Rewritten, export: &str) -> Session {
    let hosts = [(Host::plain(), wasm), (Host::hooked(), &out.wasm[..])];
    let [mut plain, mut hooked] = hosts.map(|(host, wasm)| host.open(&host.compile(wasm).unwrap()).unwrap());
    let [before, after] = [&mut plain, &mut hooked].map(|session| session.call(export).unwrap());
    assert_same_call(export, wasm, out, (&mut plain, &before), (&mut hooked, &after));
    assert_balanced(&out.wasm, hooked.events(), &after);
    hooked
}

/// Theorem: a function may have as many locals as engines allow. Where its hooks have no room for theirs it is left as it is, and
/// where only that of `memory.grow` has none, that is not reported; the next function is none the worse.
#[test]
fn fifty_thousand_locals() {
    for locals in MOST_LOCALS - 3..=MOST_LOCALS {
        let wasm = wat::parse_str(format!(
            "(module
               (memory (export \"memory\") 1 3)
               (func $f (param i32) (result i32) (local {})
                 (local.set {} (memory.grow (local.get 0)))
                 (i32.add (local.get {}) (local.get {})))
               (func (export \"run\") (result i32)
                 (i32.add (call $f (i32.const 1)) (call $f (i32.const 1)))))",
            "i32 ".repeat(locals as usize - 1),
            locals - 1,
            locals - 1,
            locals - 2,
        ))
        .unwrap();
        for hooks in HOOK_SETS {
            let out = hooked_with(&wasm, hooks).unwrap();
            let for_hooks = u32::from(hooks != HookSet::Observe);
            let is_hooked = locals + for_hooks <= MOST_LOCALS;
            // Without its hooks it has a local more for this one.
            let reports = locals + if is_hooked { for_hooks } else { 0 } < MOST_LOCALS;
            assert_eq!(probes(&out.wasm).len(), 1 + usize::from(is_hooked), "{locals}, {hooks:?}");
            assert_eq!(out.warnings.len(), usize::from(!is_hooked || !reports), "{:?}", out.warnings);
            let seen = by_rank(&out, run(&wasm, &out, "run").events());
            let f: &[&str] = match (is_hooked, reports) {
                (true, true) => &["enter 0", "MemoryGrow(1)", "exit 0"],
                (true, false) => &["enter 0", "exit 0"],
                (false, _) => &[],
            };
            let run = if is_hooked { ["enter 1", "exit 1"] } else { ["enter 0", "exit 0"] };
            assert_eq!(seen, [&run[..1], f, f, &run[1..]].concat(), "{locals}, {hooks:?}");
        }
    }
}

/// Theorem: around function 16,384, where an index becomes three bytes long because hooks are imported or was so before, each
/// `call`, `ref.func`, table, export and name still means the same function. (Most functions are imported: as many bodies would
/// take a minute to compile. `tests/compiler/rewriting.rs` has them.)
#[test]
fn function_indices_cross_16383() {
    const CHAIN: u32 = 12;
    for functions in 16_378..=16_388 {
        let first = functions - CHAIN;
        let mut text = "(module ".to_owned();
        text += &r#"(import "env" "ping" (func (param i32) (result i32)))"#.repeat(first as usize);
        text += &format!(
            r#"(type $i (func (result i32))) (table funcref (elem {first} {last})) (elem declare func {before_last})
               (func (type $i) (call {imported} (i32.const 1)))"#,
            last = functions - 1,
            before_last = functions - 2,
            imported = first - 1,
        );
        for (link, func) in (first + 1..functions - 1).enumerate() {
            text += &match link % 3 {
                0 => format!("(func (type $i) (i32.add (i32.const 1) (call {})))", func - 1),
                1 => format!("(func (type $i) (return_call {}))", func - 1),
                _ => format!("(func $named_{func} (type $i) (i32.mul (i32.const 2) (call {})))", func - 1),
            };
        }
        text += &format!(
            r#"(func (export "run") (type $i)
                 (i32.add (call_ref $i (ref.func {})) (call_indirect (type $i) (i32.const 0)))))"#,
            functions - 2
        );
        let wasm = wat::parse_str(text).unwrap();
        for hooks in HOOK_SETS {
            let out = hooked_with(&wasm, hooks).unwrap();
            assert_eq!(probes(&out.wasm).len(), CHAIN as usize);
            let session = run(&wasm, &out, "run");
            assert_eq!(session.events().len() as u32, 2 * (CHAIN + 1), "each once, and the first once more");
            for probe in &out.manifest.as_ref().unwrap().probes {
                let original = probe.id.0 - hooks.imports().len() as u32;
                if let Some(named) = probe.label.name.strip_prefix("named_") {
                    assert_eq!(named, original.to_string(), "{hooks:?}");
                }
            }
        }
    }
}
