//! The real programs: how to run them and the expected results, from `corpus/real/*.json`.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use wasmtrace::runtime::{self, Config, Invoke, RunResult, Stdio};
use wasmtrace::trace::{Event, RunOutcome};

use crate::{Case, corpus, files, programs};

const LONGEST: Duration = Duration::from_secs(60);
const MOST_EVENTS: usize = 16 << 20;

/// One real program.
pub struct Program {
    pub case: Case,
    /// Whether wasmtime runs it.
    pub runs_here: bool,
    pub runs: Vec<Run>,
    /// For a reactor: exported functions to call, each on a separate instance, with the expected result.
    pub calls: Vec<(Invoke, Option<String>)>,
}

/// One way to run it.
pub struct Run {
    /// The arguments after the program's name.
    pub args: Vec<String>,
    pub stdin: Vec<u8>,
    pub env: Vec<(String, String)>,
    /// The guest's name for the directory that it can access.
    pub preopen: Option<String>,
    files: Vec<(String, String)>,
    files_after: Vec<(String, String)>,
    stdout: String,
    stderr: Option<String>,
    end: Expected,
    /// Whether two runs make the same calls.
    pub deterministic: bool,
}

enum Expected {
    Exit(i64),
    /// A part of the trap's message.
    Trap(String),
}

/// Every program that wasmtime can run.
pub fn runnable() -> Vec<Program> {
    described().into_iter().filter(|program| program.runs_here).collect()
}

/// Every program.
pub fn described() -> Vec<Program> {
    let mut described: Vec<Value> = Vec::new();
    for path in files("real", &[".json"]) {
        let list: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        described.extend(list);
    }
    programs()
        .into_iter()
        .map(|case| {
            let of_case = |d: &&Value| d["file"].as_str().unwrap().split('.').next() == Some(&case.name);
            let program = described.iter().find(of_case).unwrap_or_else(|| panic!("{} is not described", case.name));
            Program::new(case, program)
        })
        .collect()
}

/// The program of that name.
pub fn program(name: &str) -> Case {
    programs().into_iter().find(|case| case.name == name).unwrap_or_else(|| panic!("there is no {name}"))
}

impl Program {
    fn new(case: Case, described: &Value) -> Program {
        let read = |ending: &str| std::fs::read(corpus().join("real").join(format!("{}{ending}", case.name)));
        let stdout = String::from_utf8(read(".stdout").unwrap()).unwrap();
        let stdin = if described["stdin"].is_string() { read(".stdin").unwrap() } else { Vec::new() };
        let deterministic = described["deterministic_calls"].as_bool().unwrap();
        let calls = match described["reactor"].as_bool().unwrap() {
            true => list(&described["calls"]).iter().map(call).collect(),
            false => Vec::new(),
        };
        let mut runs = Vec::new();
        if calls.is_empty() {
            runs.push(Run { stdin, ..Run::new(described, stdout, deterministic) });
        }
        for further in list(&described["cases"]) {
            let stdout = further["stdout"].as_str().unwrap().to_owned();
            let deterministic = further["deterministic_calls"].as_bool().unwrap_or(deterministic);
            runs.push(Run::new(further, stdout, deterministic));
        }
        Program { case, runs_here: described["runs"].as_bool().unwrap(), runs, calls }
    }
}

impl Run {
    fn new(described: &Value, stdout: String, deterministic: bool) -> Run {
        let text = |key: &str| described[key].as_str().map(str::to_owned);
        Run {
            args: list(&described["args"]).iter().map(|a| a.as_str().unwrap().to_owned()).collect(),
            stdin: text("stdin_text").unwrap_or_default().into_bytes(),
            env: pairs(&described["env"]),
            preopen: text("preopen"),
            files: pairs(&described["files"]),
            files_after: pairs(&described["files_after"]),
            stdout,
            stderr: text("stderr"),
            end: match text("trap") {
                Some(message) => Expected::Trap(message),
                None => Expected::Exit(described["exit"].as_i64().unwrap()),
            },
            deterministic,
        }
    }

    /// Runs a module in this way, and checks the expected results of the program.
    pub fn of(&self, wasm: &[u8]) -> (RunResult, Vec<Event>) {
        self.of_with(wasm, |_| {})
    }

    /// Runs a module like [`Run::of`], with a configuration that `set` changes.
    pub fn of_with(&self, wasm: &[u8], set: impl Fn(&mut Config)) -> (RunResult, Vec<Event>) {
        let folder = self.folder();
        let mut config = Config {
            program: "program".to_owned(),
            args: self.args.clone(),
            env: self.env.clone(),
            dirs: self.preopen.iter().map(|guest| (folder.path().to_owned(), guest.clone())).collect(),
            stdio: Stdio::Capture { stdin: self.stdin.clone() },
            ..Config::default()
        };
        set(&mut config);
        let (outcome, events) = run(wasm, &config);
        self.holds(&outcome.stdout, &outcome.stderr, &outcome.ending, &folder);
        if let (Expected::Trap(message), RunOutcome::Trapped(trap)) = (&self.end, &outcome.ending) {
            assert!(trap.message.contains(message), "{:?} trapped otherwise: {trap:?}", self.args);
        }
        (outcome, events)
    }

    /// Creates a folder with the files that the program can see.
    pub fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, contents) in &self.files {
            std::fs::write(folder.path().join(name), contents).unwrap();
        }
        folder
    }

    /// Compares the results of a run with the expected ones. A trap's message is not compared: each engine has its own.
    pub fn holds(&self, stdout: &[u8], stderr: &[u8], ending: &RunOutcome, folder: &TempDir) {
        let args = &self.args;
        assert_eq!(String::from_utf8_lossy(stdout), self.stdout, "stdout of {args:?}");
        if let Some(expected) = &self.stderr {
            assert_eq!(&String::from_utf8_lossy(stderr), expected, "stderr of {args:?}");
        }
        match (&self.end, ending) {
            (Expected::Exit(0), RunOutcome::Returned) => {}
            (Expected::Exit(expected), RunOutcome::Exited(code)) if *expected == i64::from(*code) => {}
            (Expected::Trap(_), RunOutcome::Trapped(_)) => assert_eq!(ending.exit_code(), 134),
            (_, ending) => panic!("{args:?} ended otherwise: {ending:?}"),
        }
        for (name, contents) in &self.files_after {
            assert_eq!(&std::fs::read_to_string(folder.path().join(name)).unwrap(), contents, "{name}");
        }
    }
}

/// Runs a module and keeps all events. Ends a run that takes too long: a broken compiler's output may loop forever.
pub fn run(wasm: &[u8], config: &Config) -> (RunResult, Vec<Event>) {
    let (done, watched) = channel::<()>();
    let interrupt = config.interrupt.clone();
    let watch = std::thread::spawn(move || {
        if watched.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
            interrupt.store(14, Ordering::Relaxed); // SIGALRM
        }
    });
    let mut events = Vec::new();
    let outcome = runtime::run(wasm, config, |block| {
        events.extend_from_slice(block);
        if events.len() > MOST_EVENTS {
            config.interrupt.store(25, Ordering::Relaxed); // SIGXFSZ
        }
    });
    drop(done);
    watch.join().unwrap();
    (outcome.unwrap(), events)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn pairs(value: &Value) -> Vec<(String, String)> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

/// A number's text is the same in JSON and on the command line, but for a float without a fraction.
fn call(described: &Value) -> (Invoke, Option<String>) {
    let number = |n: &Value| n.as_f64().map(|f| f.to_string());
    let invoke = Invoke {
        function: described["export"].as_str().unwrap().to_owned(),
        args: list(&described["args"]).iter().map(|n| number(n).unwrap()).collect(),
    };
    (invoke, number(&described["result"]))
}
