//! What was proved, as the table in `docs/oracles.md`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::AddAssign;

use super::suites::{SKIPPED, Suite};

/// What one file comes to, or several.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub files: usize,
    /// Modules that were hooked, in every hook set.
    pub modules: usize,
    /// Assertions that held, in every flavour.
    pub assertions: usize,
    /// Assertions that do not hold without hooks either.
    pub skipped: usize,
    /// Assertions of which nothing comes to us: text that is no module.
    pub text: usize,
    /// Modules that hook sets with a buffer are not for.
    pub shared: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.files += other.files;
        self.modules += other.modules;
        self.assertions += other.assertions;
        self.skipped += other.skipped;
        self.text += other.text;
        self.shared += other.shared;
    }
}

/// The table of these suites, with what each of their files comes to.
pub fn table(suites: &[Suite], tallies: &BTreeMap<String, Tally>) -> String {
    let mut text = "| suite | files | modules hooked | assertions | skipped |\n|---|--:|--:|--:|--:|\n".to_owned();
    let mut all = Tally::default();
    for suite in suites {
        let of_suite = sum(suite.files.iter().map(|file| tallies[&suite.path(file)]));
        row(&mut text, &suite.name, of_suite);
        all += of_suite;
    }
    row(&mut text, "**all**", all);
    let _ = write!(
        text,
        "\nAnother {} assertions do not apply: they are about text that is not a module. {} modules with a shared memory are\n\
         instrumented only with the hook set `observe`. Skipped assertions do not hold without hooks either:\n\n",
        all.text, all.shared
    );
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for skipped in SKIPPED {
        match reasons.iter_mut().find(|(why, _)| *why == skipped.why) {
            Some((_, files)) => files.push(skipped.file),
            None => reasons.push((skipped.why, vec![skipped.file])),
        }
    }
    for (why, files) in reasons {
        let skipped = sum(files.iter().map(|file| tallies[*file])).skipped;
        let files = match files[..] {
            [one] => one.to_owned(),
            [first, ..] => format!("{} files of {}", files.len(), first.split('/').next().unwrap_or_default()),
            [] => unreachable!("a reason has a file"),
        };
        let _ = writeln!(text, "- {files} ({skipped}): {why}");
    }
    text
}

fn sum(tallies: impl Iterator<Item = Tally>) -> Tally {
    let mut all = Tally::default();
    tallies.for_each(|tally| all += tally);
    all
}

fn row(text: &mut String, name: &str, tally: Tally) {
    let Tally { files, modules, assertions, skipped, .. } = tally;
    let _ = writeln!(text, "| {name} | {files} | {modules} | {assertions} | {skipped} |");
}
