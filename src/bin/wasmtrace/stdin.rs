//! Standard input that several runs read.

use std::io::{IsTerminal, Read};

use anyhow::{Context, Result, bail};

/// Maximum size of standard input in bytes: it is kept in memory for all runs.
const MOST_INPUT: u64 = 256 << 20;

/// Reads standard input to its end. `None` if it is a terminal. `option` is the reason, for messages.
pub(crate) fn read(option: &str) -> Result<Option<Vec<u8>>> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Ok(None);
    }
    let mut bounded = stdin.lock().take(MOST_INPUT + 1);
    let mut input = Vec::new();
    let read = bounded.read_to_end(&mut input).context("standard input")?;
    if read as u64 > MOST_INPUT {
        bail!("{option} keeps standard input in memory, at most {} MiB: the input is longer", MOST_INPUT >> 20);
    }
    Ok(Some(input))
}
