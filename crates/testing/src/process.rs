//! Measures the time and memory of a process.

use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// The time and memory that a process used, and how it ended.
#[derive(Debug)]
pub struct Taken {
    pub status: ExitStatus,
    pub time: Duration,
    /// Peak memory in KiB.
    pub most: u64,
}

/// Runs a command to its end. Without `/proc`, its memory is not known.
pub fn taken(command: &mut Command) -> Taken {
    let began = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut most = 0;
    let status = loop {
        most = peak(&child).map_or(most, |now| now.max(most));
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    Taken { status, time: began.elapsed(), most }
}

/// The most that a process has held in memory so far, in KiB.
fn peak(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}
