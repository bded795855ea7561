//! The selection options, in the order in which they appear on the command line.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{ArgMatches, FromArgMatches};
use serde_json::{Value, json};
use wasmtrace::select::{Preset, Reason, Rules, Summary};

use crate::recordings;

/// `--select`, `-i`, `-x`, `--preset`, `--select-file`, `--leave-out-hot`, `--min-size`.
#[derive(Debug, Clone, Default)]
pub(crate) struct SelectArgs {
    /// Rules and files of rules, in command-line order.
    given: Vec<Given>,
    min_size: Option<u32>,
    imports: bool,
}

#[derive(Debug, Clone)]
enum Given {
    Rule(String),
    Preset(Preset),
    File(PathBuf),
    /// A recording whose hottest functions are excluded.
    Hot(PathBuf),
}

const HEADING: &str = "Selection of functions";

impl clap::Args for SelectArgs {
    fn augment_args(cmd: clap::Command) -> clap::Command {
        let many = |arg: clap::Arg| arg.action(clap::ArgAction::Append).num_args(1).help_heading(HEADING);
        cmd.arg(
            many(clap::Arg::new("select").long("select").value_name("RULE"))
                .allow_hyphen_values(true)
                .help("Add a selection rule `[+|-][kind:]pattern`; the last matching rule wins")
                .long_help(
                    "Add a selection rule `[+|-][kind:]pattern`; without a sign it is `+`. The last matching rule wins. If the \
                     first rule is `+`, no function is selected initially, otherwise all are.\n\n\
                     Kinds: fn (default), raw, file, crate, export, import, module, idx, lang, group.\n\
                     Groups: @app, @user, @std, @alloc, @exports, @imports, @tiny, @leaf.\n\
                     `*` does not match `::`, `.` or `/`; `**` matches everything. `=name` is an exact name, `/re/` a regular \
                     expression.\n\
                     `wasmtrace ls` shows which functions a selection contains.",
                ),
        )
        .arg(
            many(clap::Arg::new("include").short('i').long("include").value_name("PATTERN"))
                .allow_hyphen_values(true)
                .help("Include functions; short for --select '+PATTERN'"),
        )
        .arg(
            many(clap::Arg::new("exclude").short('x').long("exclude").value_name("PATTERN"))
                .allow_hyphen_values(true)
                .help("Exclude functions; short for --select '-PATTERN'"),
        )
        .arg(
            many(clap::Arg::new("preset").long("preset").value_name("NAME"))
                .value_parser(clap::builder::PossibleValuesParser::new(Preset::NAMES))
                .help("Add the rules of a preset; later rules can override them")
                .long_help(format!(
                    "Add the rules of a preset; later rules can override them. Without any rule on the command line, the \
                     variables WASMTRACE_PRESET and WASMTRACE_SELECT apply.\n\n\
                     hosted: for hosts where each event is expensive; only code of the application: {}",
                    Preset::Hosted.rules().join(" "),
                )),
        )
        .arg(
            many(clap::Arg::new("select-file").long("select-file").value_name("FILE"))
                .value_parser(clap::value_parser!(PathBuf))
                .help("Read rules from a file, one per line; # begins a comment"),
        )
        .arg(
            many(clap::Arg::new("leave-out-hot").long("leave-out-hot").value_name("RECORDING"))
                .value_parser(clap::value_parser!(PathBuf))
                .help("Exclude the functions with the most calls in a recording")
                .long_help(
                    "Exclude the functions with the most calls in a recording, until 90 % of the calls are excluded. Functions \
                     with less than 1 % of the calls stay. The time of an excluded function counts as its callers' time. Functions \
                     are matched by name, so the recording may be of an earlier build. Later rules can override the exclusion.",
                ),
        )
        .arg(
            clap::Arg::new("imports")
                .long("imports")
                .action(clap::ArgAction::SetTrue)
                .help_heading(HEADING)
                .help("Also hook imported functions, such as the WASI calls in which a program waits"),
        )
        .arg(
            clap::Arg::new("min-size")
                .long("min-size")
                .value_name("N")
                .value_parser(clap::value_parser!(u32))
                .help_heading(HEADING)
                .help("Exclude functions of fewer than N operators, unless they contain a loop"),
        )
    }

    fn augment_args_for_update(cmd: clap::Command) -> clap::Command {
        Self::augment_args(cmd)
    }
}

impl FromArgMatches for SelectArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for (id, sign) in [("select", ""), ("include", "+"), ("exclude", "-")] {
            let values = matches.get_many::<String>(id).into_iter().flatten();
            let rules = values.map(|v| Given::Rule(format!("{sign}{v}")));
            given.extend(matches.indices_of(id).into_iter().flatten().zip(rules));
        }
        let presets = matches.get_many::<String>("preset").into_iter().flatten();
        let presets = presets.filter_map(|name| Preset::from_name(name)).map(Given::Preset);
        given.extend(matches.indices_of("preset").into_iter().flatten().zip(presets));
        let files = matches.get_many::<PathBuf>("select-file").into_iter().flatten().map(|f| Given::File(f.clone()));
        given.extend(matches.indices_of("select-file").into_iter().flatten().zip(files));
        let hot = matches.get_many::<PathBuf>("leave-out-hot").into_iter().flatten().map(|f| Given::Hot(f.clone()));
        given.extend(matches.indices_of("leave-out-hot").into_iter().flatten().zip(hot));
        given.sort_by_key(|(index, _)| *index);
        let given = given.into_iter().map(|(_, g)| g).collect();
        Ok(SelectArgs { given, min_size: matches.get_one("min-size").copied(), imports: matches.get_flag("imports") })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl SelectArgs {
    /// Whether a selection option was given.
    pub(crate) fn is_given(&self) -> bool {
        !self.given.is_empty() || self.min_size.is_some() || self.imports
    }

    /// Fails if a selection option was given: a selection has no effect on a module that is hooked already.
    pub(crate) fn refuse_of_hooked(&self) -> Result<()> {
        if !self.is_given() {
            return Ok(());
        }
        bail!("the module is hooked already: a selection has no effect; run `wasmtrace strip` first")
    }

    /// With a preset or a recording: how many functions were selected, and how many each rule excluded. `None` if all rules
    /// were written on the command line, where the user knows them.
    pub(crate) fn told(&self, rules: &Rules, selection: &Summary) -> Option<String> {
        let has_preset = match self.given.is_empty() {
            true => presets_of_the_environment().is_ok_and(|presets| !presets.is_empty()),
            false => self.given.iter().any(|given| matches!(given, Given::Preset(_) | Given::Hot(_))),
        };
        if !has_preset {
            return None;
        }
        let why = |reason: &Reason| match reason {
            Reason::Rule(place) => rules.text(*place).unwrap_or_default().to_owned(),
            Reason::TooSmall => "--min-size".to_owned(),
            Reason::Helper => "bindings to the manual API".to_owned(),
            Reason::Default | Reason::Imported => "no rule".to_owned(),
        };
        let Summary { functions, selected, left_out } = selection;
        let left_out: Vec<String> =
            left_out.iter().map(|(reason, count)| format!("{count} by {}", why(reason))).collect();
        let left_out = if left_out.is_empty() { "nothing".to_owned() } else { left_out.join(", ") };
        Some(format!("{selected} of {functions} functions selected; excluded: {left_out}"))
    }

    /// The rules and how many functions each of them excluded, for a report.
    pub(crate) fn report(&self, rules: &Rules, selection: &Summary) -> Value {
        let excluded = |reason: Reason| selection.left_out.get(&reason).copied().unwrap_or(0);
        let list: Vec<Value> = (0..)
            .map_while(|place| Some((place, rules.text(place)?)))
            .map(|(place, text)| json!({ "rule": text, "excluded": excluded(Reason::Rule(place)) }))
            .collect();
        json!({
            "list": list,
            "min_size": rules.min_size,
            "imports": rules.imports,
            "selected": selection.selected,
            "selectable": selection.functions,
        })
    }

    /// The rules of the command line, otherwise the presets in `WASMTRACE_PRESET` and the rules in `WASMTRACE_SELECT` (both
    /// separated by `;` or line breaks).
    pub(crate) fn rules(&self) -> Result<Rules> {
        let mut rules = Rules::default();
        rules.min_size = self.min_size;
        rules.imports = self.imports;
        for given in &self.given {
            match given {
                Given::Rule(rule) => rules.push(rule)?,
                Given::Preset(preset) => rules.push_preset(*preset),
                Given::Hot(path) => {
                    for name in recordings::hottest(path)? {
                        rules.push(&format!("-raw:={name}"))?;
                    }
                }
                Given::File(path) => {
                    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
                    rules.push_lines(&text).with_context(|| path.display().to_string())?;
                }
            }
        }
        if self.given.is_empty() {
            presets_of_the_environment()?.into_iter().for_each(|preset| rules.push_preset(preset));
            if let Ok(text) = std::env::var("WASMTRACE_SELECT") {
                rules.push_lines(&text.replace(';', "\n")).context("WASMTRACE_SELECT")?;
            }
        }
        Ok(rules)
    }
}

fn presets_of_the_environment() -> Result<Vec<Preset>> {
    let Ok(text) = std::env::var("WASMTRACE_PRESET") else { return Ok(Vec::new()) };
    let names = text.split([';', '\n']).map(str::trim).filter(|name| !name.is_empty());
    let preset = |name| {
        let unknown =
            || format!("WASMTRACE_PRESET: unknown preset `{name}`; the presets are {}", Preset::NAMES.join(", "));
        Preset::from_name(name).with_context(unknown)
    };
    names.map(preset).collect()
}
