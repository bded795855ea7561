//! Theorem: a host that keeps one stack, and takes only the exit of the innermost entry, receives every call and span of a
//! program complete and in order if the module was hooked with `--close-on-exit`. The Observe SDK for Go is such a host.
//! (`tests/hosts/sdk.rs` runs the SDK itself, on few programs; this is for many.)
//!
//! The reference model is `Seen::in_order`. It reads what the same program tells without the exit guard, and says what the
//! host is to be told instead:
//!
//! ```text
//! program ─┬─ hooked, without the guard ──→ heard: open A, enter f, close A, exit f
//!          │                                   │ model: an exit waits until it is the innermost
//!          │                                   ▼
//!          │                                told:  open A, enter f, exit f, close A
//!          │                                   ║ equal, event for event
//!          └─ hooked, with the guard ─────→ heard: open A, enter f, exit f, close A
//!                                              │ host: one stack
//!                                              ▼
//!                                           nothing stray, nothing left open
//! ```
//!
//! The two runs also have to end alike. Control: each program that is written down below loses its trace without the guard.
#![cfg(feature = "runtime")]

use testing::instrument;
use wasmtime::{Caller, Config, Engine, Linker, Module, Store, StoreLimits, StoreLimitsBuilder};
use wasmtrace::hook::{OBSERVE, OBSERVE_API, OBSERVE_OLD};
use wasmtrace::rewrite::{self, CloseOnExit, Rewritten};
use wasmtrace::select::Rules;
use wasmtrace::{Options, strip, verify};

/// What a host hears, functions by their ids, names by where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Enter(u32),
    Exit(u32),
    /// An exit before a tail call.
    Leave(u32),
    Open(u64),
    Close,
}

#[derive(Default)]
struct Seen {
    heard: Vec<Heard>,
    limits: StoreLimits,
}

impl Seen {
    fn entries(&self) -> Vec<Heard> {
        self.heard.iter().copied().filter(|heard| matches!(heard, Heard::Enter(_) | Heard::Open(_))).collect()
    }

    /// Exits that the host does not take, since they are not of the innermost, and what stays open at the end.
    fn jams(&self) -> (usize, usize) {
        let (mut stack, mut stray) = (Vec::new(), 0);
        for heard in &self.heard {
            let left = match heard {
                Heard::Enter(id) => {
                    stack.push(Heard::Exit(*id));
                    continue;
                }
                Heard::Open(_) => {
                    stack.push(Heard::Close);
                    continue;
                }
                Heard::Leave(id) => Heard::Exit(*id),
                left => *left,
            };
            match stack.last() {
                Some(top) if *top == left => drop(stack.pop()),
                _ => stray += 1,
            }
        }
        (stray, stack.len())
    }

    /// What the host is to be told instead: of what is left, or closed, an exit as soon as it is the innermost. If a span is opened
    /// while a closed one waits for calls on it, those are exited at once. When the outermost call returns, so does what it has left
    /// open; and if the module leaves for good, all is exited.
    fn in_order(&self, leaves: bool) -> Vec<Heard> {
        let (mut told, mut open) = (Vec::new(), Vec::<Open>::new());
        for heard in self.heard.iter().copied() {
            match heard {
                Heard::Enter(id) => {
                    told.push(heard);
                    open.push(Open { left: Heard::Exit(id), waits: false, gone: false });
                }
                Heard::Open(_) => {
                    let (mut gone, waits) = (Vec::new(), |open: &[Open]| open.iter().any(|o| o.is_span() && o.waits));
                    while waits(&open) {
                        let last = open.pop().unwrap();
                        told.extend(last.exit());
                        gone.extend((!last.is_span() && !last.waits).then_some(Open { gone: true, ..last }));
                    }
                    settle(&mut open, &mut told);
                    open.extend(gone.into_iter().rev());
                    told.push(heard);
                    open.push(Open { left: Heard::Close, waits: false, gone: false });
                }
                Heard::Close => {
                    let innermost = open.iter_mut().rev().find(|o| o.is_span() && !o.waits);
                    innermost.into_iter().for_each(|span| span.waits = true);
                }
                Heard::Exit(id) | Heard::Leave(id) => {
                    let call = open.iter_mut().rev().find(|o| !o.is_span() && !o.waits).unwrap();
                    assert_eq!(call.left, Heard::Exit(id), "calls nest");
                    call.waits = true;
                    if heard == Heard::Exit(id) && open.iter().all(|o| o.is_span() || o.waits) {
                        let outermost = open.iter().position(|o| !o.is_span()).unwrap();
                        told.extend(open.drain(outermost..).rev().filter_map(|o| o.exit()));
                    }
                }
            }
            settle(&mut open, &mut told);
        }
        told.extend(open.into_iter().rev().filter(|_| leaves).filter_map(|o| o.exit()));
        told
    }
}

/// One that is open.
struct Open {
    /// Its exit, which may wait until it is the innermost, or may have been told already.
    left: Heard,
    waits: bool,
    gone: bool,
}

impl Open {
    fn is_span(&self) -> bool {
        self.left == Heard::Close
    }

    fn exit(&self) -> Option<Heard> {
        (!self.gone).then_some(self.left)
    }
}

fn settle(open: &mut Vec<Open>, told: &mut Vec<Heard>) {
    while let Some(last) = open.pop_if(|last| last.waits) {
        told.extend(last.exit());
    }
}

/// How a run ended: whether by returning, an exit code, or the engine's name of a trap.
fn run(engine: &Engine, out: &Rewritten, most_elements: usize) -> (String, Seen) {
    run_all(engine, out, most_elements, &["_start"])
}

/// The same of calls of these exports, one after the other.
fn run_all(engine: &Engine, out: &Rewritten, most_elements: usize, exports: &[&str]) -> (String, Seen) {
    let limits = StoreLimitsBuilder::new().table_elements(most_elements).build();
    let mut store = Store::new(engine, Seen { limits, ..Seen::default() });
    store.limiter(|seen| &mut seen.limits);
    // Where the engine counts.
    _ = store.set_fuel(FUEL);
    let mut linker: Linker<Seen> = Linker::new(engine);
    let hear = |mut c: Caller<'_, Seen>, heard: Heard| c.data_mut().heard.push(heard);
    linker.func_wrap(OBSERVE, "enter", move |c: Caller<'_, Seen>, id: u32| hear(c, Heard::Enter(id))).unwrap();
    let wasm = out.wasm.clone();
    let exit = move |c: Caller<'_, Seen>, id: u32| {
        let heard = if is_before_a_tail_call(&c, &wasm) { Heard::Leave(id) } else { Heard::Exit(id) };
        hear(c, heard);
    };
    linker.func_wrap(OBSERVE, "exit", exit).unwrap();
    linker.func_wrap(OBSERVE, "memory-grow", |_: u32| ()).unwrap();
    let open = move |c: Caller<'_, Seen>, at: u32, _: u32| hear(c, Heard::Open(u64::from(at)));
    linker.func_wrap(OBSERVE_API, "span-enter", open).unwrap();
    let open = move |c: Caller<'_, Seen>, at: u64, _: u32| hear(c, Heard::Open(at));
    linker.func_wrap(OBSERVE_OLD, "span_enter", open).unwrap();
    let close = move |c: Caller<'_, Seen>| hear(c, Heard::Close);
    linker.func_wrap(OBSERVE_API, "span-exit", close).unwrap();
    linker.func_wrap(OBSERVE_OLD, "span_exit", close).unwrap();
    let leave = |code: i32| -> wasmtime::Result<()> { Err(wasmtime::Error::msg(format!("exit {code}"))) };
    linker.func_wrap("wasi_snapshot_preview1", "proc_exit", leave).unwrap();
    let instance = linker.instantiate(&mut store, &Module::new(engine, &out.wasm).unwrap()).unwrap();
    let called = exports
        .iter()
        .try_for_each(|export| instance.get_typed_func::<(), ()>(&mut store, export).unwrap().call(&mut store, ()));
    let ending = match called {
        Ok(()) => "returned".to_owned(),
        Err(e) => e.root_cause().to_string(),
    };
    let mut seen = store.into_data();
    // Shims stand behind each other, and there are more of them where spans are kept: so functions are counted.
    let probes = &out.manifest.as_ref().unwrap().probes;
    let place = |id: u32| probes.binary_search_by_key(&id, |probe| probe.id.0).unwrap() as u32;
    for heard in &mut seen.heard {
        match heard {
            Heard::Enter(id) | Heard::Exit(id) | Heard::Leave(id) => *id = place(*id),
            Heard::Open(_) | Heard::Close => {}
        }
    }
    (ending, seen)
}

/// Whether the hook that calls this is one before `return_call` or `return_call_indirect`. (Not that of a module that keeps its calls:
/// there another function calls the host.)
fn is_before_a_tail_call(caller: &Caller<'_, Seen>, wasm: &[u8]) -> bool {
    let trace = wasmtime::WasmBacktrace::capture(caller);
    let call = trace.frames()[0].module_offset().unwrap();
    // `call` and an index of one byte.
    assert!(wasm[call] == 0x10 && wasm[call + 1] < 0x80);
    matches!(wasm[call + 2], 0x12 | 0x13)
}

fn engine() -> Engine {
    Engine::new(Config::new().wasm_exceptions(true).wasm_tail_call(true)).unwrap()
}

fn hooked(wasm: &[u8], select: &Rules, close_on_exit: CloseOnExit) -> Rewritten {
    let rewrite = rewrite::Options { close_on_exit, ..Default::default() };
    let hooked = instrument(wasm, &Options { rewrite, select: select.clone(), ..Default::default() }).unwrap();
    verify::verify(wasm, &hooked.wasm).unwrap();
    assert!(strip(&hooked.wasm).unwrap() == wasm);
    hooked
}

const UNLIMITED: usize = 1 << 20;

/// What a program may take that does a few ten thousand things.
const FUEL: u64 = 20_000_000;

/// Holds a module against the theorem. Returns how much was entered, and whether the host loses a trace without what balances it.
fn assert_told_in_order(engine: &Engine, text: &str, select: &Rules) -> (usize, bool) {
    let wasm = wat::parse_str(text).unwrap();
    let (ending, untold) = run(engine, &hooked(&wasm, select, CloseOnExit::Never), UNLIMITED);
    let balanced = hooked(&wasm, select, CloseOnExit::WhereItExits);
    let (same_ending, told) = run(engine, &balanced, UNLIMITED);
    assert_eq!(same_ending, ending, "{text}");
    let start = balanced.manifest.iter().flat_map(|m| &m.probes).any(|probe| &*probe.label.name == "_start");
    let (stray, open) = told.jams();
    let leaves = ending != "returned";
    assert_eq!((stray, open > 0 && (start || leaves)), (0, false), "exits out of order, or {open} left open: {text}");
    assert_eq!(told.heard, untold.in_order(leaves), "{text}");
    // With no room for what is open it is still the same program.
    let (same_ending, cramped) = run(engine, &balanced, NO_FURTHER);
    assert_eq!((same_ending, cramped.entries()), (ending, untold.entries()), "{text}");
    (untold.entries().len(), untold.jams() != (0, 0))
}

/// As many elements as there are at first, and a few.
const NO_FURTHER: usize = 1100;

/// What the programs below have in common; `$open` and `$close` are the API's.
fn program(functions: &str) -> String {
    format!(
        r#"(module
  (import "dylibso:observe/api" "span-enter" (func $open (param i32 i32)))
  (import "dylibso:observe/api" "span-exit" (func $close))
  (import "wasi_snapshot_preview1" "proc_exit" (func $leave (param i32)))
  (memory (export "memory") 1)
  (tag $thrown)
  {functions})"#
    )
}

/// Theorem: whatever a program does with spans of its own, and however it ends but by another trap, a host that takes an exit of the
/// innermost alone hears of every call and span in the order in which they were entered, of each exit as soon as it can take it, and
/// nothing stays open. Each of these programs loses its trace there otherwise.
#[test]
fn spans_of_a_programs_own_are_told_in_order() {
    let engine = engine();
    let open = "(call $open (i32.const 7) (i32.const 1))";
    for (what, functions) in [
        ("open at an exit", format!("(func (export \"_start\") {open} (call $leave (i32.const 3)))")),
        ("open at a panic", format!("(func $f unreachable) (func (export \"_start\") {open} (call $f))")),
        ("open when all is over", format!("(func $f {open}) (func (export \"_start\") (call $f))")),
        (
            "opened and closed by helpers",
            format!(
                "(func $o {open}) (func $w) (func $c (call $close))
                 (func (export \"_start\") (call $o) (call $w) (call $o) (call $w) (call $c) (call $w) (call $c) (call $w))"
            ),
        ),
        (
            "two closed at once, by one that has a span of its own open",
            format!(
                "(func $o {open} {open}) (func $c {open} (call $close) (call $close) {open} (call $close) (call $close))
                 (func (export \"_start\") (call $o) (call $c) (call $leave (i32.const 0)))"
            ),
        ),
        ("closed and never opened", "(func (export \"_start\") (call $close) (call $close))".to_owned()),
        (
            "by way of a table, with a tail call in a span",
            format!(
                "(type $t (func)) (table funcref (elem $close $g $h)) (func $h)
                 (func $g {open} (return_call_indirect (type $t) (i32.const 2)))
                 (func (export \"_start\") (call_indirect (type $t) (i32.const 1)) (call $h) (call_indirect (type $t) (i32.const 0)))"
            ),
        ),
        (
            "crossed by an exception",
            format!(
                "(func $t {open} (throw $thrown)) (func $u {open} (call $t) (call $close))
                 (func (export \"_start\") (block (try_table (catch_all 0) (call $u))) (call $close) (call $close))"
            ),
        ),
        (
            "one closed and the next opened by a helper, time and again",
            format!(
                "(func $w) (func $next (call $close) {open} (call $w)) (func $outer (call $next) (call $w))
                 (func (export \"_start\") (call $next) (call $w) (call $next) (call $w) (call $outer) (call $outer) (call $close))"
            ),
        ),
        (
            "two closed by helpers that another opens behind, and a call in it",
            format!(
                "(func $w) (func $in (call $close) (call $close) {open} (call $w)) (func $out {open} (call $in) (call $w) (call $close))
                 (func (export \"_start\") {open} {open} (call $out) (call $w) (call $in) (call $leave (i32.const 1)))"
            ),
        ),
        (
            "left by a tail call out of the first function",
            format!(
                "(func $w) (func $main (call $w) (call $w) (call $close) {open})
                 (func (export \"_start\") {open} {open} (return_call $main))"
            ),
        ),
        (
            "more than there is room for at first",
            format!(
                "(func $down (param i32) (if (local.get 0) (then {open} (call $down (i32.sub (local.get 0) (i32.const 1))))))
                 (func $up (param i32) (loop (if (local.get 0) (then (call $close)
                   (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br 1)))))
                 (func (export \"_start\") (call $down (i32.const 2000)) (call $up (i32.const 1500)) (call $down (i32.const 900)))"
            ),
        ),
    ] {
        let (_, loses) = assert_told_in_order(&engine, &program(&functions), &Rules::default());
        assert!(loses, "{what}: no host would mind");
    }
    let older = r#"(module
      (import "dylibso_observe" "span_exit" (func $close))
      (import "dylibso_observe" "span_enter" (func $open (param i64 i32)))
      (memory (export "memory") 1)
      (func $o (call $open (i64.const 7) (i32.const 1)))
      (func (export "_start") (call $o) (call $close)))"#;
    assert!(assert_told_in_order(&engine, older, &Rules::default()).1, "no host would mind the older API's spans");
}

/// Theorem: what the outermost hooked call has left open is exited when it returns, and nothing else: whichever export that is, and
/// whatever of it is hooked. A span that a function opens which is not hooked is that function's own.
#[test]
fn what_the_outermost_call_leaves_open_is_exited_when_it_returns() {
    let engine = engine();
    let open = "(call $open (i32.const 7) (i32.const 1))";
    let exports = format!(
        "(func $w) (func $all {open} (call $job) (call $w)) (func $job {open} (call $w))
         (func $main {open} (return_call $all))
         (func (export \"_start\") (call $all) (call $w))
         (func (export \"run\") (call $main)) (func (export \"begin\") {open}) (func (export \"end\") (call $close))
         (func (export \"own\") {open} (call $all) (call $w) (call $close))"
    );
    let wasm = wat::parse_str(program(&exports)).unwrap();
    for (rules, exports, own) in [
        (&[][..], &["_start", "run", "begin", "end", "own"][..], false),
        (&["-_start"], &["_start"], false),
        (&["-export:*"], &["_start", "run", "own"], true),
        (&["+main", "+all"], &["run", "_start"], false),
        (&["+job", "+w"], &["begin", "end"], true),
    ] {
        let mut select = Rules::default();
        rules.iter().for_each(|rule| select.push(rule).unwrap());
        let (_, untold) = run_all(&engine, &hooked(&wasm, &select, CloseOnExit::Never), UNLIMITED, exports);
        let (ending, told) = run_all(&engine, &hooked(&wasm, &select, CloseOnExit::WhereItExits), UNLIMITED, exports);
        assert_eq!((ending.as_str(), told.jams()), ("returned", (0, 0)), "{rules:?}");
        assert!(own || untold.jams() != (0, 0), "no host would mind {rules:?}");
        assert_eq!(told.heard, untold.in_order(false), "{rules:?}");
    }
}

/// Theorem: what is kept is no more than what is open, however often a helper closes one span and opens the next; and exits of spans
/// that are not open cost the same however many calls are.
#[test]
fn what_is_kept_is_what_is_open() {
    let engine = Engine::new(Config::new().consume_fuel(true)).unwrap();
    let times = |n: u32, body: &str| {
        format!(
            "(local $n i32) (local.set $n (i32.const {n})) (loop $l {body} (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
        )
    };
    let phases = format!(
        "(func $w) (func $next (call $close) (call $open (i32.const 7) (i32.const 1)))
         (func (export \"_start\") {} (call $close))",
        times(20_000, "(call $next) (call $w)")
    );
    let stray = format!(
        "(func $down (param i32) {} (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1))))))
         (func (export \"_start\") (call $down (i32.const 500)))",
        times(20, "(call $close)")
    );
    for (what, functions) in [("phases", phases), ("stray", stray)] {
        let wasm = wat::parse_str(program(&functions)).unwrap();
        let (_, untold) = run(&engine, &hooked(&wasm, &Rules::default(), CloseOnExit::Never), NO_FURTHER);
        let (ending, told) = run(&engine, &hooked(&wasm, &Rules::default(), CloseOnExit::WhereItExits), NO_FURTHER);
        assert_eq!((ending.as_str(), told.jams()), ("returned", (0, 0)), "{what}");
        assert_eq!(told.heard.len(), untold.in_order(false).len(), "{what}");
        assert!(told.heard == untold.in_order(false), "{what}");
    }
}

/// Numbers that look random (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    /// Some statements of function `f`, which calls those behind it alone, so that it ends.
    fn statements(&mut self, f: u64, nesting: u32) -> String {
        let mut text = String::new();
        for _ in 0..1 + self.below(7) {
            let callee = f + 1 + self.below(3);
            text += &match self.below(if nesting < 3 { 14 } else { 9 }) {
                0..=2 => format!("(call $open (i32.const {}) (i32.const 1))", 1 + self.below(60)),
                3..=5 => "(call $close)".to_owned(),
                6..=8 => format!("(call $f{})", callee.min(FUNCTIONS)),
                9 => format!("(call_indirect (type $plain) (i32.const {}))", callee.min(FUNCTIONS)),
                10 => format!("(block (br_if 0 (i32.const {})) {})", self.below(2), self.statements(f, nesting + 1)),
                11 => format!("(block (try_table (catch_all 0) {}))", self.statements(f, nesting + 1)),
                _ => format!("(if (i32.const {}) (then {}))", self.below(2), self.statements(f, nesting + 1)),
            };
            text.push('\n');
        }
        text + match self.below(120) {
            0 => "(call $leave (i32.const 3))",
            1 => "unreachable",
            2..=4 => "(throw $thrown)",
            5..=9 => "return",
            _ => "",
        }
    }
}

/// How many functions a program has beside its first and its last.
const FUNCTIONS: u64 = 7;

/// Theorem: the same of any program, and any selection of what is hooked. (If `_start` is not, spans that it opened itself are its own.)
#[test]
fn spans_of_any_program_are_told_in_order() {
    assert_any_is_told_in_order(1..200);
}

#[test]
#[ignore = "takes minutes"]
fn spans_of_many_programs_are_told_in_order() {
    assert_any_is_told_in_order(200..5_000);
}

fn assert_any_is_told_in_order(seeds: std::ops::Range<u64>) {
    let engine = engine();
    let programs = (seeds.end - seeds.start) as usize;
    let (mut entered, mut lost) = (0, 0);
    for seed in seeds {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut functions = "(type $plain (func))\n".to_owned();
        for f in 0..FUNCTIONS {
            let last = match random.below(6) {
                0 => format!("(return_call $f{})", f + 1),
                _ => String::new(),
            };
            functions += &format!("(func $f{f} {} {last})\n", random.statements(f, 0));
        }
        let table: String = (0..=FUNCTIONS).map(|f| format!(" $f{f}")).collect();
        functions += &format!("(func $f{FUNCTIONS}) (table funcref (elem{table}))\n");
        functions += "(func (export \"_start\") (block (try_table (catch_all 0) (call $f0))))";
        let mut select = Rules::default();
        select.imports = random.below(3) == 0;
        for unseen in ["f1", "f3", "f4", "_start"] {
            if random.below(4) == 0 {
                select.push(&format!("-{unseen}")).unwrap();
            }
        }
        let (calls, loses) = assert_told_in_order(&engine, &program(&functions), &select);
        entered += calls;
        lost += usize::from(loses);
    }
    println!("{programs} programs, {lost} of which lose their trace without it; {entered} calls and spans");
    assert!(lost > programs / 2 && entered > 20 * programs, "{lost} would lose, {entered} entered");
}
