//! `wasmtrace env`

use std::io::Write;

use anyhow::Result;
use serde_json::json;
use wasmtrace::export::json_text;
use wasmtrace::label::printable;
use wasmtrace::otlp::settings::{Exporter, Sampler, Setting, SettingWarning, Settings, Target, without_secrets};

use crate::sending::{SpoolArgs, settings};

/// Show the effective export settings and where each one comes from
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Header values are not shown. Options of `run` and `push` take precedence over WASMTRACE_* variables, and those \
over OTEL_* variables.")]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One line of the output: a setting, its value, and the variable or default that set it.
struct Row {
    name: String,
    value: String,
    from: String,
}

pub(crate) fn run(args: &Args) -> Result<u8> {
    let settings = settings(&Target::Environment);
    let mut invalid = Vec::new();
    let rows = rows(&settings, &mut invalid);
    let unusable = [&settings.traces, &settings.logs, &settings.metrics].map(Exporter::check);
    let unusable = unusable.into_iter().filter_map(Result::err).map(|e| e.to_string());
    let mut warnings: Vec<String> = Vec::new();
    for warning in texts(&settings.warnings).chain(unusable).chain(texts(&invalid)) {
        warnings.extend(Some(warning).filter(|warning| !warnings.contains(warning)));
    }
    let mut out = std::io::stdout().lock();
    if args.json {
        let settings_json: Vec<_> = rows
            .iter()
            .map(|Row { name, value, from }| json!({ "name": name, "value": value, "from": from }))
            .collect();
        let value = json!({ "schema": "wasmtrace.env/1", "settings": settings_json, "warnings": warnings });
        out.write_all(json_text(&value).as_bytes())?;
        return Ok(0);
    }
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0);
    let (names, values) = (width(|row| &row.name), width(|row| &row.value).min(60));
    writeln!(out, "{:<names$}  {:<values$}  from", "setting", "value")?;
    for Row { name, value, from } in &rows {
        writeln!(out, "{name:<names$}  {:<values$}  {}", printable(value), printable(from))?;
    }
    for warning in &warnings {
        writeln!(out, "warning: {}", printable(warning))?;
    }
    Ok(0)
}

fn texts(warnings: &[SettingWarning]) -> impl Iterator<Item = String> {
    warnings.iter().map(ToString::to_string)
}

/// The rows. Variables of the command line that are invalid are added to `warnings`.
fn rows(settings: &Settings, warnings: &mut Vec<SettingWarning>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |name: &str, value: String, from: &str| {
        rows.push(Row { name: name.to_owned(), value, from: from.to_owned() });
    };
    let ours = |variable: &'static str| match std::env::var(variable) {
        Ok(value) if !value.is_empty() => (value, variable),
        _ => ("none".to_owned(), "default"),
    };
    add(
        "sending",
        yes(settings.asked.value && !settings.disabled.value),
        match settings.disabled.value {
            true => &settings.disabled.from,
            false => &settings.asked.from,
        },
    );
    let sampler = match settings.sampler.value {
        Sampler::Always(all) => if all { "always_on" } else { "always_off" }.to_owned(),
        Sampler::Ratio(ratio) => format!("traceidratio {ratio}"),
        Sampler::ParentBased(1.0) => "parentbased_always_on".to_owned(),
        Sampler::ParentBased(0.0) => "parentbased_always_off".to_owned(),
        Sampler::ParentBased(ratio) => format!("parentbased_traceidratio {ratio}"),
    };
    add("sampler", sampler, &settings.sampler.from);
    let resource: Vec<String> = settings.resource.value.iter().map(|(key, value)| format!("{key}={value}")).collect();
    add("resource", or_none(resource.join(",")), &settings.resource.from);
    let [context, baggage] = settings.propagate.value;
    let propagators: Vec<&str> = [(context, "tracecontext"), (baggage, "baggage")]
        .into_iter()
        .filter_map(|(on, name)| on.then_some(name))
        .collect();
    add("propagators", or_none(propagators.join(",")), &settings.propagate.from);
    for variable in ["TRACEPARENT", "TRACESTATE", "BAGGAGE"] {
        if let Ok(value) = std::env::var(variable) {
            add(&variable.to_lowercase(), value, variable);
        }
    }
    let args = SpoolArgs::default();
    let max_spans = args.send.max_spans(warnings);
    add("max-spans", max_spans.value.to_string(), &max_spans.from);
    for (name, set) in
        [("flush-timeout", args.send.flush_timeout_of_run(warnings)), ("send-every", args.send_every(warnings))]
    {
        add(name, humantime::format_duration(set.value).to_string(), &set.from);
    }
    let spool_dir = args.spool_dir(warnings);
    add("spool-dir", spool_dir.value.display().to_string(), &spool_dir.from);
    for (name, variable) in [("preset", "WASMTRACE_PRESET"), ("select", "WASMTRACE_SELECT")] {
        let (value, from) = ours(variable);
        add(name, value, from);
    }
    for (signal, exporter) in [("traces", &settings.traces), ("logs", &settings.logs), ("metrics", &settings.metrics)] {
        exporter_rows(signal, exporter, &mut add);
    }
    add(
        "metrics.temporality",
        if settings.delta.value { "delta" } else { "cumulative" }.to_owned(),
        &settings.delta.from,
    );
    rows
}

fn exporter_rows(signal: &str, exporter: &Exporter, add: &mut impl FnMut(&str, String, &str)) {
    let mut row = |name: &str, value: String, from: &str| add(&format!("{signal}.{name}"), value, from);
    row("enabled", yes(exporter.enabled.value), &exporter.enabled.from);
    row("protocol", exporter.protocol.value.to_string(), &exporter.protocol.from);
    row("endpoint", without_secrets(&exporter.endpoint.value), &exporter.endpoint.from);
    // A header's value may be a secret; its name is not.
    let headers: Vec<String> = exporter.headers.value.iter().map(|(name, _)| format!("{name}=***")).collect();
    row("headers", or_none(headers.join(",")), &exporter.headers.from);
    row("timeout", format!("{:?}", exporter.timeout.value), &exporter.timeout.from);
    row("compression", if exporter.gzip.value { "gzip" } else { "none" }.to_owned(), &exporter.gzip.from);
    let mut file = |name: &str, file: &Setting<Option<std::path::PathBuf>>| {
        if let Some(path) = &file.value {
            row(name, path.display().to_string(), &file.from);
        }
    };
    file("certificate", &exporter.certificate);
    file("client-certificate", &exporter.client_certificate);
    file("client-key", &exporter.client_key);
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".to_owned() } else { text }
}
