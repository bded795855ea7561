//! A host in JavaScript: `tests/hosts/node` under Node, whose engine is V8. Nothing is installed for it. If Node is
//! missing, tests that need it print a message and skip.

use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use wasmtrace::hook::ProbeId;
use wasmtrace::module;
use wasmtrace::runtime::Invoke;
use wasmtrace::trace::{Event, EventKind, RunOutcome, Trap};

use crate::host::{Call, Frame};
use crate::programs::Run;

const HOST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/hosts/node/host.mjs");

/// `node:wasi` with a version, and the array methods of the host.
const OLDEST: u32 = 20;

/// What V8 has, and does not do unasked.
const FLAGS: [&str; 2] = ["--wasm-allow-mixed-eh-for-testing", "--experimental-wasm-custom-descriptors"];

/// The installed Node, and the features of its engine.
pub struct Node {
    program: String,
    flags: Vec<&'static str>,
    /// Whether its engine has several memories, which a buffer beside a memory needs. Node 20 does not.
    pub several_memories: bool,
    /// Whether it still has legacy exceptions.
    pub legacy_exceptions: bool,
}

/// The runs of a module's exports, by name. The outer error means that the module is rejected. The inner error means
/// that a call is rejected, because JavaScript has no values of some types.
pub type Each = Result<Vec<(String, Result<Seen, String>)>, String>;

/// One run, as the host reports it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The values that an exported function returned, or how else the call ended.
    pub call: Call,
    /// The exported globals, memories and tables.
    pub state: Value,
    /// The call tree, one line per node.
    pub tree: String,
    /// The functions that are open at the end, innermost first.
    pub open: Vec<u32>,
    /// Exits of functions that were not open, and calls that ended without one.
    pub anomalies: (u64, u64),
    /// Pages that each `memory.grow` requested.
    pub grows: Vec<u32>,
    /// The calls of the manual API, as text.
    pub said: Vec<String>,
    /// Every event. Empty unless the run is one of [`Node::each`].
    pub events: Vec<Event>,
}

impl Node {
    /// Finds Node: the program that the variable `NODE` names, otherwise `node`. Prints a message if there is none.
    pub fn find() -> Option<&'static Node> {
        static FOUND: OnceLock<Option<Node>> = OnceLock::new();
        let found = FOUND.get_or_init(|| {
            let program = std::env::var("NODE").unwrap_or_else(|_| "node".to_owned());
            let said = |arg: &str| {
                let output = Command::new(&program).arg(arg).stdin(Stdio::null()).output().ok()?;
                output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
            };
            let version = said("--version")?;
            let major: u32 = version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()?;
            let known = said("--v8-options").filter(|_| major >= OLDEST)?;
            let flags = FLAGS.into_iter().filter(|flag| known.contains(flag)).collect();
            let node = Node { program, flags, several_memories: false, legacy_exceptions: false };
            let probes = ["(module (memory 0) (memory 0))", "(module (func try end))"];
            let probes = probes.map(|text| wat::parse_str(text).unwrap());
            let takes = node.each(&[&probes[0], &probes[1]]);
            Some(Node { several_memories: takes[0].is_ok(), legacy_exceptions: takes[1].is_ok(), ..node })
        });
        if found.is_none() {
            eprintln!("there is no Node {OLDEST} or newer here (NODE names one that is not on the path): left out");
        }
        found.as_ref()
    }

    /// Calls each export `run…` of each module, each on a separate instance.
    pub fn each(&self, modules: &[&[u8]]) -> Vec<Each> {
        let (report, output) = self.host(modules, &["--each".to_owned()], &[], &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let run = |run: &Value| (run["export"].as_str().unwrap().to_owned(), not_refused(run).map(|()| seen(run)));
        let each =
            |module: &Value| not_refused(module).map(|()| module["runs"].as_array().unwrap().iter().map(run).collect());
        report.as_array().unwrap().iter().map(each).collect()
    }

    /// Runs a program in one of its ways, and checks the expected results.
    pub fn run(&self, wasm: &[u8], run: &Run) -> Result<Seen, String> {
        let folder = run.folder();
        let mut options = Vec::new();
        for (name, value) in &run.env {
            options.extend(["--env".to_owned(), format!("{name}={value}")]);
        }
        if let Some(guest) = &run.preopen {
            options.extend(["--dir".to_owned(), format!("{}={guest}", folder.path().to_str().unwrap())]);
        }
        let (report, output) = self.host(&[wasm], &options, &run.args, &run.stdin);
        not_refused(&report)?;
        let seen = seen(&report);
        assert_eq!(output.status.code(), Some(i32::from(seen.call.ending.exit_code())));
        run.holds(&output.stdout, &output.stderr, &seen.call.ending, &folder);
        Ok(seen)
    }

    /// Calls an exported function of a reactor.
    pub fn invoke(&self, wasm: &[u8], invoke: &Invoke) -> Result<Seen, String> {
        let module = module::parse(wasm).unwrap();
        let (_, func) = module.exports().iter().find(|(name, _)| *name == invoke.function).unwrap();
        let mut options = vec!["--invoke".to_owned(), invoke.function.clone()];
        for (arg, ty) in invoke.args.iter().zip(module.func_type(*func).params()) {
            let suffix = if *ty == wasmparser::ValType::I64 { "n" } else { "" };
            options.extend(["--arg".to_owned(), format!("{arg}{suffix}")]);
        }
        let (report, _) = self.host(&[wasm], &options, &[], &[]);
        not_refused(&report)?;
        Ok(seen(&report))
    }

    fn host(&self, modules: &[&[u8]], options: &[String], args: &[String], stdin: &[u8]) -> (Value, Output) {
        let folder = tempfile::tempdir().unwrap();
        let [report, input] = ["report.json", "stdin"].map(|name| folder.path().join(name));
        std::fs::write(&input, stdin).unwrap();
        let file = |(number, wasm): (usize, &&[u8])| {
            let file = folder.path().join(format!("{number}.wasm"));
            std::fs::write(&file, wasm).unwrap();
            file
        };
        let output = Command::new(&self.program)
            .arg("--no-warnings") // that WASI is experimental
            .args(&self.flags)
            .arg(HOST)
            .arg("--report")
            .arg(&report)
            .args(options)
            .args(modules.iter().enumerate().map(file))
            .args(args)
            .stdin(std::fs::File::open(input).unwrap())
            .output()
            .unwrap();
        let text = std::fs::read(report)
            .unwrap_or_else(|_| panic!("the host failed: {}", String::from_utf8_lossy(&output.stderr)));
        (serde_json::from_slice(&text).unwrap(), output)
    }
}

fn not_refused(report: &Value) -> Result<(), String> {
    report["refused"].as_str().map_or(Ok(()), |why| Err(why.to_owned()))
}

fn seen(run: &Value) -> Seen {
    let numbers =
        |key: &str| -> Vec<u32> { run[key].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect() };
    let line = |node: &Value| {
        let number = |key: &str| node[key].as_u64().unwrap();
        let name = node["name"].as_str().unwrap();
        tree_line(number("depth") as usize, number("calls"), number("unwound"), number("id") as u32, name)
    };
    Seen {
        call: call(run),
        state: run["state"].clone(),
        tree: run["tree"].as_array().unwrap().iter().map(line).collect(),
        open: numbers("open"),
        anomalies: (run["strayExits"].as_u64().unwrap(), run["withoutExit"].as_u64().unwrap()),
        grows: numbers("grows"),
        said: texts(&run["said"]),
        events: run["events"].as_array().into_iter().flatten().enumerate().map(event).collect(),
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn call(run: &Value) -> Call {
    let frame = |frame: &Value| Frame {
        instance: 0,
        func: frame[0].as_u64().unwrap() as u32,
        offset: Some(frame[1].as_u64().unwrap() as usize),
    };
    let frames: Vec<Frame> = run["frames"].as_array().into_iter().flatten().map(frame).collect();
    let ending = if let Some(code) = run["exited"].as_i64() {
        RunOutcome::Exited(code as i32)
    } else if let Some(message) = run["trapped"].as_str() {
        let frames = frames.iter().map(|frame| frame.func).collect();
        RunOutcome::Trapped(Trap { code: message.to_owned(), message: message.to_owned(), frames })
    } else {
        RunOutcome::Returned
    };
    Call { ending, returned: texts(&run["returned"]), frames }
}

fn event((at, event): (usize, &Value)) -> Event {
    let number = event[1].as_u64().unwrap() as u32;
    let kind = match event[0].as_str().unwrap() {
        "enter" => EventKind::Enter(ProbeId(number)),
        "exit" => EventKind::Exit(ProbeId(number)),
        "unwound" => EventKind::Unwound(ProbeId(number)),
        _ => EventKind::MemoryGrow(number),
    };
    Event { at: at as u64, kind }
}

/// One line of a tree: number of calls, number of calls that an exception unwound, function.
pub fn tree_line(depth: usize, calls: u64, unwound: u64, id: u32, name: &str) -> String {
    let thrown = if unwound > 0 { format!(" ({unwound} thrown)") } else { String::new() };
    format!("{:indent$}{calls}{thrown} [{id}] {name}\n", "", indent = 2 * depth)
}
