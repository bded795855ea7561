//! The `WASMTRACE_*` environment variables, each of which replaces an option. As with OpenTelemetry's variables, an empty
//! one counts as not set, and an invalid one causes a warning and is ignored.

use std::ffi::OsStr;
use std::time::Duration;

use wasmtrace::otlp::settings::{Setting, SettingWarning};

/// The value of the option if it was given, otherwise that of the variable. `None` if neither is set or the variable is invalid.
pub(crate) fn typed_or<T>(
    typed: Option<T>,
    variable: &str,
    (wanted, parse): (&str, impl Fn(&OsStr) -> Option<T>),
    warnings: &mut Vec<SettingWarning>,
) -> Option<Setting<T>> {
    if let Some(value) = typed {
        return Some(Setting { value, from: "typed".to_owned() });
    }
    let text = std::env::var_os(variable).filter(|text| !text.to_string_lossy().trim().is_empty())?;
    let value = parse(&text);
    if value.is_none() {
        warnings.push(SettingWarning::Invalid { variable: variable.to_owned(), expected: wanted.to_owned() });
    }
    Some(Setting { value: value?, from: variable.to_owned() })
}

pub(crate) fn number(text: &OsStr) -> Option<usize> {
    text.to_str()?.trim().parse().ok()
}

pub(crate) fn duration(text: &OsStr) -> Option<Duration> {
    humantime::parse_duration(text.to_str()?.trim()).ok()
}
