//! Theorem: every JSON that the command line prints is valid under its schema in `docs/schemas`, and the schemas say no more
//! than that: each member, each null and each value of an enumeration occurs in an output. The control: a schema refuses an
//! output that lacks a required member, and one with a member that is not described.
//!
//! The outputs are those of the binary, on programs and on recordings of them. What a run has only sometimes, such as samples,
//! is in recordings that are written here.

#![cfg(unix)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use jsonschema::Validator;
use regex_lite::Regex;
use serde_json::{Value, json};
use wasmtime::component::Val;
use wasmtrace::export::{Recording, RunInfo};
use wasmtrace::hook::ProbeId;
use wasmtrace::hook::buffer::{Kind, word};
use wasmtrace::label::{Label, Resumption, Source};
use wasmtrace::trace::batch::{Batch, MarkKind, Place, Sample, Stamp};
use wasmtrace::trace::lines::Lines;
use wasmtrace::trace::recording::{Footer, Writer};
use wasmtrace::trace::{Event, EventKind, Manual, Misuse, RunOutcome, Trap};

use crate::written::Written;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The schemas by their `$id`.
fn schemas() -> BTreeMap<String, Value> {
    let files = std::fs::read_dir(Path::new(ROOT).join("docs/schemas")).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|file| {
            let schema: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            let id = schema["$id"].as_str().unwrap().to_owned();
            let name = id.strip_prefix("wasmtrace.").unwrap().split('/').next().unwrap();
            assert_eq!(file.file_name().unwrap().to_str(), Some(&*format!("{name}.schema.json")));
            assert_eq!(schema["properties"]["schema"]["const"], id);
            (id, schema)
        })
        .collect()
}

fn validator(schema: &Value) -> Validator {
    jsonschema::draft202012::new(schema).unwrap_or_else(|e| panic!("{}: {e}", schema["$id"]))
}

/// The items of a list; of anything else, none.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A place in a schema and in the values that it describes.
#[derive(Clone)]
struct At<'s, 'v> {
    schema: &'s Value,
    /// The value, or `None` to walk over all that the schema describes.
    value: Option<&'v Value>,
    /// The members that lead here: `functions[].name`, `hooks(own_hooks).set`.
    path: String,
    /// The JSON pointer of the value.
    pointer: String,
}

/// Calls `see` for each place of a schema; with a value, for the places that occur in it.
fn walk<'s>(root: &'s Value, at: At<'s, '_>, see: &mut impl FnMut(&At<'s, '_>)) {
    let behind = at.schema["$ref"].as_str().map(|reference| root.pointer(&reference[1..]).expect("a definition"));
    let at = At { schema: behind.unwrap_or(at.schema), ..at };
    see(&at);
    for alternative in list(&at.schema["oneOf"]) {
        let Some(name) = alternative["$ref"].as_str().or(alternative["type"].as_str()) else { continue };
        let alone = json!({ "$ref": alternative["$ref"].as_str(), "$defs": root["$defs"] });
        let is_it = |value: &Value| match name {
            "null" => value.is_null(),
            _ => jsonschema::draft202012::is_valid(&alone, value),
        };
        if at.value.is_none_or(is_it) {
            let path = format!("{}({})", at.path, name.rsplit('/').next().unwrap());
            walk(root, At { schema: alternative, path, ..at.clone() }, see);
        }
    }
    for (name, schema) in at.schema["properties"].as_object().into_iter().flatten() {
        let value = at.value.map(|value| value.get(name));
        if value != Some(None) {
            let path = if at.path.is_empty() { name.clone() } else { format!("{}.{name}", at.path) };
            let pointer = format!("{}/{name}", at.pointer);
            walk(root, At { schema, value: value.flatten(), path, pointer }, see);
        }
    }
    if at.schema["items"].is_object() {
        let path = format!("{}[]", at.path);
        let items = at.value.map_or(vec![None], |value| list(value).iter().map(Some).collect());
        for (i, value) in items.into_iter().enumerate() {
            let pointer = format!("{}/{i}", at.pointer);
            walk(root, At { schema: &at.schema["items"], value, path: path.clone(), pointer }, see);
        }
    }
}

fn walk_all<'s>(root: &'s Value, value: Option<&Value>, see: &mut impl FnMut(&At<'s, '_>)) {
    walk(root, At { schema: root, value, path: String::new(), pointer: String::new() }, see);
}

/// All that a schema describes: members, and that those not required are absent; types; values. With a value, what of that
/// occurs in it.
fn described(root: &Value, value: Option<&Value>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk_all(root, value, &mut |At { schema, value, path, .. }| {
        found.insert(path.clone());
        let booleans = [json!(true), json!(false)];
        let values = if schema["type"] == "boolean" { &booleans[..] } else { list(&schema["enum"]) };
        let values = values.iter().filter(|one| value.is_none_or(|value| value == *one));
        found.extend(values.map(|one| format!("{path} = {one}")));
        // A type is either null or the other one.
        let types = list(&schema["type"]).iter().filter(|name| value.is_none_or(|v| v.is_null() == (*name == "null")));
        found.extend(types.map(|name| format!("{path}: {name}")));
        let optional = schema["properties"].as_object().into_iter().flat_map(|members| members.keys());
        let optional = optional.filter(|name| !list(&schema["required"]).contains(&json!(name)));
        let absent = optional.filter(|name| value.is_none_or(|value| value.get(name).is_none()));
        found.extend(absent.map(|name| format!("{path} without {name}")));
        let names = list(&schema["propertyNames"]["enum"]).iter().map(|name| name.as_str().unwrap());
        let names = names.filter(|name| value.is_none_or(|value| value.get(name).is_some()));
        found.extend(names.map(|name| format!("{path}.{name:?}")));
    });
    found
}

/// A folder with what the commands write, and the JSON that they print.
struct Outputs {
    folder: tempfile::TempDir,
    /// Each with the command that printed it.
    all: Vec<(String, Value)>,
}

impl Outputs {
    /// Runs a command that ends with an exit code. JSON on its standard output is an output.
    fn run_with(&mut self, variables: &[(&str, &str)], exit: i32, command: &str) {
        let mut wasmtrace = Command::new(env!("CARGO_BIN_EXE_wasmtrace"));
        let root =
            |arg: &str| arg.replace("CORPUS", &format!("{ROOT}/corpus")).replace("TESTS", &format!("{ROOT}/tests/cli"));
        let inherited = std::env::vars().map(|(name, _)| name);
        for name in
            inherited.filter(|name| ["OTEL_", "WASMTRACE_", "TRACE", "BAGGAGE"].iter().any(|own| name.starts_with(own)))
        {
            wasmtrace.env_remove(name);
        }
        wasmtrace.current_dir(&self.folder).args(command.split(' ').map(root)).envs(variables.iter().copied());
        let output = wasmtrace.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{command}: {said}");
        if let Ok(value) = serde_json::from_slice(&output.stdout) {
            self.all.push((command.to_owned(), value));
        } else {
            assert!(!command.contains("--json"), "{command} prints no JSON: {said}");
        }
    }

    fn run(&mut self, command: &str) {
        self.run_with(&[], 0, command);
    }

    /// Runs `instrument` so that it writes both of its files, which are outputs.
    fn instrument(&mut self, options: &str) {
        self.run(&format!("instrument {options} --report report.json --names names.json"));
        for file in ["report.json", "names.json"] {
            let value = serde_json::from_slice(&std::fs::read(self.folder.path().join(file)).unwrap()).unwrap();
            self.all.push((format!("instrument {options}, {file}"), value));
        }
    }

    /// Records a run that ends with an exit code, and reports on it.
    fn record(&mut self, exit: i32, run: &str) {
        self.run_with(&[], exit, &format!("record -o run.wtrace {run}"));
        self.run("report --json run.wtrace");
        self.run("report --json --lines run.wtrace");
    }

    /// Reports on a recording that is written here.
    fn report(&mut self, recording: Recording, ending: RunOutcome, batch: &Batch) {
        let label = |file: Option<&str>, line| Label {
            name: "f".into(),
            file: file.map(Into::into),
            line,
            source: Source::NameSection,
            index: Some(0),
            language: None,
        };
        let labels = [(ProbeId(3), label(Some("f.c"), Some(7))), (ProbeId(4), label(None, None))];
        let (hash, labels) = (Some([7; 32]), labels.into());
        let run_info = RunInfo { program: "written".to_owned(), hash, labels, recording, ..RunInfo::default() };
        let file = File::create(self.folder.path().join("written.wtrace")).unwrap();
        let mut writer = Writer::new(file, &run_info.header()).unwrap();
        writer.batch(batch).unwrap();
        let mut lines = Lines::default();
        lines.insert(ProbeId(3), 8, "f.c", 9);
        writer.lines(&lines).unwrap();
        writer.finish(&Footer { ending, duration: 100_000_000 }).unwrap();
        self.run("report --json written.wtrace");
        self.run("report --json --lines written.wtrace");
    }

    fn of_modules(&mut self) {
        self.run("ls --json TESTS/modules/app.wat");
        self.run("ls --json --min-size 5 -x core::* --preset hosted TESTS/modules/app.wat");
        self.run("ls --json --imports --select +import:** TESTS/modules/app.wat");
        for file in ["real/c_stripped.wasm", "real/rust_calls.wasm", "real/bind_c.wasm", "beside/emcc_map.wasm"] {
            self.run(&format!("ls --json CORPUS/{file}"));
            self.run(&format!("info --json CORPUS/{file}"));
        }
        self.run("ls --json CORPUS/shapes/external_debug_info_and_build_id.wat");
        self.run("info --json CORPUS/shapes/external_debug_info_and_build_id.wat");
        self.run("info --json CORPUS/shapes/already_hooked_says_the_manifest.wat");
        self.run("info --json CORPUS/real/c_reactor.wasm");
        self.run("info --json TESTS/modules/app.wat");
        self.run("info --json TESTS/modules/hooked_by_others.wat");
        self.run("ls --json TESTS/modules/hooked_by_others.wat");
        let described = r#"(module
            (import "dylibso:observe/instrument" "enter" (func (param i32)))
            (@custom "sourceMappingURL" "\05a.map"))"#;
        std::fs::write(self.folder.path().join("described.wat"), described).unwrap();
        self.run("info --json described.wat");

        self.of_components();
        self.instrument("TESTS/modules/app.wat -o observe.wasm -x core::* --min-size 1");
        self.instrument("TESTS/modules/app.wat -o buffer.wasm --hooks buffer --no-restore");
        self.instrument("TESTS/modules/app.wat -o threshold.wasm --hooks threshold --imports --preset hosted");
        self.instrument("TESTS/modules/app.wat --wat --select +nosuch");
        self.instrument("TESTS/modules/app.wat --hooks none -o unhooked.wasm");
        self.instrument("TESTS/modules/hooked_by_others.wat --force -o again.wasm");
        self.instrument("CORPUS/shapes/external_debug_info_and_build_id.wat -o linked.wasm");
        self.instrument("CORPUS/beside/emcc_map.wasm -o map.wasm");
        self.instrument("CORPUS/beside/lld_dwarf.wasm -o dwarf.wasm");
        self.instrument("CORPUS/real/c_stripped.wasm -o stripped.wasm");
        self.run("instrument CORPUS/real/zig_demo.wasm TESTS/modules/ends.wat --out-dir out --report -");
        for name in ["observe", "buffer", "threshold", "linked", "dwarf"] {
            self.run(&format!("info --json {name}.wasm"));
            self.run(&format!("ls --json {name}.wasm"));
        }
        self.run("verify --json TESTS/modules/app.wat observe.wasm");
        self.run("verify --json TESTS/modules/app.wat observe.wasm --");
    }

    fn of_components(&mut self) {
        for file in ["c_p2.wasm", "rust_p2.wasm", "modexport.wat"] {
            self.run(&format!("ls --json CORPUS/components/{file}"));
            self.run(&format!("info --json CORPUS/components/{file}"));
        }
        self.instrument("CORPUS/components/c_p2.wasm -o component.wasm");
        self.instrument("CORPUS/components/two.wat --hooks buffer --no-restore --select module:m -o two.wasm");
        for file in ["component.wasm", "two.wasm"] {
            self.run(&format!("ls --json {file}"));
            self.run(&format!("info --json {file}"));
        }
        self.run("verify --json CORPUS/components/c_p2.wasm component.wasm");
        self.record(0, "CORPUS/components/rust_p2.wasm pear apple");
        self.instrument("--hooks wasi CORPUS/components/two.wat -o own.wasm");
        let hooked = std::fs::read(self.folder.path().join("own.wasm")).unwrap();
        let log = testing::stock::ran(&hooked, &[], &[Val::U32(3)]).stderr;
        std::fs::write(self.folder.path().join("own.log"), &log).unwrap();
        self.run("extract --json own.wasm own.log");
        std::fs::write(self.folder.path().join("cut.log"), &log[..log.len() - 12]).unwrap();
        self.run_with(&[], 1, "extract --json own.wasm cut.log -o cut.wtrace");
        let second = log.split_inclusive(|byte| *byte == b'\n').nth(1).unwrap();
        std::fs::write(self.folder.path().join("second.log"), second).unwrap();
        self.run_with(&[], 1, "extract --json own.wasm second.log -o second.wtrace");
        self.run("info --json own.wasm");
    }

    fn of_settings(&mut self) {
        self.run("env --json");
        let mut variables = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://me:secret@host:4317"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_SERVICE_NAME", "shop"),
            ("WASMTRACE_PRESET", "hosted"),
            ("TRACEPARENT", "00-zz"),
            ("TRACESTATE", "a=1"),
            ("BAGGAGE", "a=1"),
        ];
        for file in ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"] {
            variables.push((String::leak(format!("OTEL_EXPORTER_OTLP_{file}")), "file.pem"));
        }
        self.run_with(&variables, 0, "env --json");
    }

    fn of_runs(&mut self) {
        self.record(0, "TESTS/modules/app.wat");
        self.record(0, "--no-sample --max-depth 1 TESTS/modules/app.wat");
        self.record(0, "--clock spin TESTS/modules/app.wat");
        self.record(0, "--hooks threshold --min-duration 10s TESTS/modules/app.wat");
        self.record(7, "--invoke exit TESTS/modules/ends.wat 7");
        self.record(134, "--invoke trap --hooks observe TESTS/modules/ends.wat");
        self.record(134, "--invoke divide TESTS/modules/ends.wat 1 0");
        self.record(0, "TESTS/modules/manual.wat");
        self.record(0, "--select +** TESTS/exceptions.in/manual.wat");
        self.record(0, "CORPUS/real/cpp_eh_exnref.wasm");
        self.record(0, "--hooks none --sample CORPUS/real/c_bzip2_dwarf5.wasm");
        let whole = std::fs::read(self.folder.path().join("run.wtrace")).unwrap();
        std::fs::write(self.folder.path().join("cut.wtrace"), &whole[..whole.len() - 9]).unwrap();
        self.run("report --json cut.wtrace");
        std::fs::write(self.folder.path().join("damaged.wtrace"), [&whole[..whole.len() - 1], b"z"].concat()).unwrap();
        self.run_with(&[], 1, "report --json damaged.wtrace");
    }

    fn of_written_recordings(&mut self) {
        let mut batch = Batch::default();
        let stamp = |called, returned| {
            MarkKind::Stamp(Stamp { over: called, called, returned, host: returned - called, before_event: true })
        };
        let sample = |place| MarkKind::Sample(Sample { weight: 1_000_000, cost: 0, place, path: None });
        batch.mark(stamp(0, 0));
        batch.words.push(word(ProbeId(3), Kind::Enter));
        batch.mark(stamp(1_000_000, 2_000_000));
        (0..30).for_each(|_| batch.mark(sample(Place::Function { id: ProbeId(3), offset: Some(8) })));
        batch.mark(sample(Place::Hook));
        batch.words.extend([ProbeId(3), ProbeId(4), ProbeId(5)].map(|id| word(id, Kind::Leaf)));
        batch.mark(stamp(90_000_000, 90_000_000));
        batch.words.push(word(ProbeId(3), Kind::Exit));
        let stamped = |resumption| {
            let (clock, resolution) = ("coarse".to_owned(), 200_000);
            Recording { clock, resolution, stamped: true, resumption: Some(resumption), ..Recording::default() }
        };
        self.report(stamped(Resumption::Go), RunOutcome::Interrupted(15), &batch);
        let written = self.folder.path().join("written.wtrace");
        std::fs::copy(written, self.folder.path().join("stamped.wtrace")).unwrap();
        batch.mark(sample(Place::Seen));
        self.report(stamped(Resumption::Asyncify), RunOutcome::Returned, &batch);

        let mut batch = Batch::default();
        let mut event = |kind| batch.event(Event { at: 1_000, kind });
        let manual = |manual| EventKind::Manual(Box::new(manual));
        event(manual(Manual::Tags("outside=1".to_owned())));
        event(EventKind::Enter(ProbeId(3)));
        (0..=u8::MAX).filter_map(Misuse::from_number).for_each(|misuse| event(manual(Manual::Misuse(misuse))));
        event(EventKind::ClockGap(5_000_000));
        let (code, message) = ("uncaught_exception".to_owned(), "not caught".to_owned());
        self.report(Recording::default(), RunOutcome::Trapped(Trap { code, message, frames: vec![3, 9] }), &batch);
    }
}

impl Outputs {
    /// Compares recordings that are written here: each kind of change, for times and for calls.
    fn of_diffs(&mut self) {
        let write = |name: &str, written: Written<'_>| written.write(&self.folder.path().join(name));
        let ms = 1_000_000;
        let calls: [(&str, &[(&str, u64)]); 3] = [
            ("nothing", &[]),
            ("less", &[("app::main/f", 100 * ms), ("app::main/gone/f", ms), ("app::main/«span»", ms)]),
            ("more", &[("app::main/f", 300 * ms), ("app::main/f", ms), ("new", 50 * ms)]),
        ];
        for (name, calls) in calls {
            write(&format!("{name}.wtrace"), Written::of(calls));
        }
        let recording = Recording { clock: "samples".to_owned(), ..Recording::default() };
        write("samples.wtrace", Written { recording, hash: None, ..Written::of(calls[1].1) });
        let fail_on =
            |expressions: &[&str]| expressions.iter().map(|one| format!(" --fail-on {one}")).collect::<String>();
        let gates = ["self>+0%", "self:f>+1000%", "calls>+1", "duration<1s"];
        self.run_with(&[], 1, &format!("diff --json less.wtrace more.wtrace{}", fail_on(&gates)));
        self.run_with(&[], 1, &format!("diff --json nothing.wtrace more.wtrace{}", fail_on(&gates[..1])));
        self.run(&format!("diff --json more.wtrace less.wtrace{}", fail_on(&gates[..1])));
        self.run(&format!("diff --json less.wtrace --to more.wtrace less.wtrace{}", fail_on(&gates[..1])));
        self.run("diff --json samples.wtrace less.wtrace");
        self.run("diff --json less.wtrace samples.wtrace");
        let five = |name: &str| vec![format!("{name}.wtrace"); 5].join(" ");
        self.run(&format!("diff --json {} --to {}", five("less"), five("more")));
        let whole = std::fs::read(self.folder.path().join("less.wtrace")).unwrap();
        std::fs::write(self.folder.path().join("part.wtrace"), &whole[..whole.len() - 9]).unwrap();
        self.run("diff --json part.wtrace part.wtrace");
        // The recording with samples and estimates.
        self.run("diff --json stamped.wtrace stamped.wtrace");
    }
}

/// The JSON of all commands.
fn outputs() -> Vec<(String, Value)> {
    let mut outputs = Outputs { folder: tempfile::tempdir().unwrap(), all: Vec::new() };
    outputs.of_modules();
    outputs.of_settings();
    outputs.of_runs();
    outputs.of_written_recordings();
    outputs.of_diffs();
    outputs.all
}

#[test]
fn every_output_is_valid_under_its_schema_and_every_schema_is_exact() {
    let schemas = schemas();
    let validators: BTreeMap<&str, Validator> = schemas.iter().map(|(id, schema)| (&**id, validator(schema))).collect();
    let mut occurs: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut refused: BTreeSet<(&str, String)> = BTreeSet::new();
    for (command, output) in &outputs() {
        let id = output["schema"].as_str().unwrap_or_else(|| panic!("{command}: no schema"));
        let (id, schema) = schemas.get_key_value(id).unwrap_or_else(|| panic!("{command}: there is no schema {id}"));
        let validator = &validators[&**id];
        let wrong: Vec<String> = validator.iter_errors(output).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert_eq!(wrong, [""; 0], "{command}");
        occurs.entry(id).or_default().extend(described(schema, Some(output)));

        // One object of each kind, without one of its members or with one too many.
        walk_all(schema, Some(output), &mut |At { schema, value, path, pointer }| {
            if !value.is_some_and(Value::is_object) || !refused.insert((id, path.clone())) {
                return;
            }
            let refuses = |what: &str, change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
                let mut changed = output.clone();
                change(changed.pointer_mut(pointer).unwrap().as_object_mut().unwrap());
                assert!(!validator.is_valid(&changed), "{id} accepts {what} at {pointer:?} of {command}");
            };
            for name in list(&schema["required"]).iter().map(|name| name.as_str().unwrap()) {
                refuses(&format!("no {name}"), &|object| drop(object.remove(name).unwrap()));
            }
            refuses("an unknown member", &|object| drop(object.insert("no such member".to_owned(), json!(1))));
        });
    }
    let mut missing = Vec::new();
    for (id, schema) in &schemas {
        let occurs = occurs.remove(&**id).unwrap_or_default();
        missing.extend(described(schema, None).difference(&occurs).map(|what| format!("{id}: {what}")));
    }
    assert_eq!(missing, [""; 0], "schemas describe what does not occur");
}

/// Each object says what all of its members are, which of them are always there, and that there are no others.
#[test]
fn a_schema_describes_every_member() {
    for (id, schema) in &schemas() {
        jsonschema::draft202012::meta::validate(schema).unwrap_or_else(|e| panic!("{id}: {e}"));
        let mut objects = 0;
        walk_all(schema, None, &mut |At { schema, path, .. }| {
            let Some(members) = schema["properties"].as_object() else { return };
            objects += 1;
            assert_eq!(schema["additionalProperties"], false, "{id}: {path}");
            for (name, member) in members {
                let about = member["description"].as_str().unwrap_or_default();
                assert!(about.ends_with('.'), "{id}: {path}: {name} is not described");
            }
            let required = list(&schema["required"]).iter().map(|name| name.as_str().unwrap());
            let unknown: Vec<_> = required.filter(|name| !members.contains_key(*name)).collect();
            assert_eq!(unknown, [""; 0], "{id}: {path}");
        });
        assert!(objects > 0, "{id}");
    }
}

#[test]
fn code_schemas_and_documentation_name_the_same_outputs() {
    let ids = |text: &str| -> BTreeSet<String> {
        let id = Regex::new(r#"["`](wasmtrace\.[a-z]+/\d+)["`]"#).unwrap();
        id.captures_iter(text).map(|found| found[1].to_owned()).collect()
    };
    let files = std::fs::read_dir(Path::new(ROOT).join("src/bin/wasmtrace")).unwrap();
    let code: String = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/json.md")).unwrap();
    let schemas: BTreeSet<String> = schemas().into_keys().collect();
    assert_eq!(ids(&code), schemas);
    assert_eq!(ids(&page), schemas);
}
