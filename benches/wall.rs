//! What a command costs a person: wall-clock time of the whole process, from start to exit.
//!
//! ```sh
//! benches/programs.sh && cargo build --release && cargo bench -p benches --bench wall
//! cargo bench -p benches --bench wall -- --rounds 11 --other before/wasmtrace lua sqlite
//! ```
//!
//! The binary is the one that `WASMTRACE` names, or `target/release/wasmtrace`. In each round every program is run once in
//! each way, one way after the other, beginning with another way; ratios are those within a round, to `run --hooks none`.
//! One round before the first is not counted: it fills the cache of machine code, which is one for this bench alone.
//! `--other PATH` measures the tree and the recording of a second binary in the same rounds.

#[allow(dead_code, reason = "each bench needs a part of it")]
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use benches::{Args, Program, machine, spread};

/// A way to run a program. Standard output and standard error are discarded in all of them.
#[derive(Clone, Copy)]
enum Way {
    /// Without hooks.
    Bare,
    /// With the call tree, on standard error.
    Tree,
    /// With hooks, and nothing shown.
    Sink,
    /// Into a file.
    Record,
}

/// Two binaries never share machine code or a recording.
struct Binary {
    path: PathBuf,
    folder: PathBuf,
}

/// One column of the table.
struct Column {
    title: String,
    binary: usize,
    way: Way,
}

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let other = args.iter().position(|arg| arg == "--other").map(|at| {
        args.remove(at);
        assert!(at < args.len(), "--other has a path");
        args.remove(at)
    });
    let Args { number: rounds, programs } = Args::of(args, "--rounds", 7, |_| true);

    let scratch = tempfile::tempdir().expect("there is room for files");
    let own = std::env::var("WASMTRACE")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/wasmtrace").to_owned());
    let binaries: Vec<Binary> =
        std::iter::once(own).chain(other).enumerate().map(|(i, path)| Binary::new(&path, scratch.path(), i)).collect();
    let mut columns = vec![
        Column { title: "run --hooks none".into(), binary: 0, way: Way::Bare },
        Column { title: "run".into(), binary: 0, way: Way::Tree },
        Column { title: "run --sink none".into(), binary: 0, way: Way::Sink },
        Column { title: "record".into(), binary: 0, way: Way::Record },
    ];
    if binaries.len() > 1 {
        columns.push(Column { title: "other: run".into(), binary: 1, way: Way::Tree });
        columns.push(Column { title: "other: record".into(), binary: 1, way: Way::Record });
    }

    println!("{}; wall clock, {rounds} rounds: median (least to greatest).\n", machine());
    let titles: Vec<&str> = columns.iter().map(|column| column.title.as_str()).collect();
    println!("| program | {} |", titles.join(" | "));
    println!("|---|{}", "--:|".repeat(columns.len()));
    for program in &programs {
        for column in &columns {
            seconds(&binaries[column.binary], column.way, program);
        }
        let rounds: Vec<Vec<f64>> = (0..rounds).map(|round| measure(&binaries, &columns, program, round)).collect();
        let control = spread(rounds.iter().map(|times| times[0]));
        let mut cells = vec![
            program.name.to_owned(),
            format!("{:.3} s ({:.3} to {:.3})", control.median, control.least, control.most),
        ];
        cells.extend((1..columns.len()).map(|i| {
            let ratio = spread(rounds.iter().map(|times| times[i] / times[0]));
            format!("×{:.2} ({:.2} to {:.2})", ratio.median, ratio.least, ratio.most)
        }));
        println!("| {} |", cells.join(" | "));
    }
}

impl Binary {
    fn new(path: &str, scratch: &Path, number: usize) -> Binary {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "{}: there is no such binary", path.display());
        let folder = scratch.join(number.to_string());
        std::fs::create_dir(&folder).expect("the folder is new");
        Binary { path, folder }
    }
}

/// One round: seconds of each column, in the order of the columns.
fn measure(binaries: &[Binary], columns: &[Column], program: &Program, round: usize) -> Vec<f64> {
    let mut times = vec![0.0; columns.len()];
    for i in 0..columns.len() {
        let at = (i + round) % columns.len();
        times[at] = seconds(&binaries[columns[at].binary], columns[at].way, program);
    }
    times
}

fn seconds(binary: &Binary, way: Way, program: &Program) -> f64 {
    let mut command = Command::new(&binary.path);
    match way {
        Way::Bare => command.args(["run", "--hooks", "none"]),
        Way::Tree => command.arg("run"),
        Way::Sink => command.args(["run", "--sink", "none"]),
        Way::Record => command.arg("record").arg("-o").arg(binary.folder.join("recording.wtrace")),
    };
    command.arg("--cache").arg(binary.folder.join("cache"));
    match program.invoke {
        Some((function, arg)) => command.args(["--invoke", function]).arg(&program.path).arg(arg),
        None => command.arg(&program.path),
    };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let status = command.status().expect("the binary can be started");
    let seconds = begun.elapsed().as_secs_f64();
    assert!(status.success(), "{}: {command:?}: {status}", program.name);
    seconds
}
