//! What was proved, as a table: what stands in the README.

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
        "\nOf {} more assertions nothing comes to us: they are about text that is no module. {} modules with a shared memory\n\
         have the hooks of the set `observe` alone. Skipped, since without hooks it is not as the file says either:\n\n",
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

/// What stands between the marks in the README, if there is a README.
pub fn in_readme() -> Option<String> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).ok()?;
    let shown = readme.split_once("<!-- spec -->\n").and_then(|(_, rest)| rest.split_once("<!-- /spec -->"));
    Some(shown.map_or_else(String::new, |(shown, _)| shown.to_owned()))
}
