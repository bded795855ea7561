//! Variables of our own: each is an option that need not be typed. They are read as OpenTelemetry's are: an empty one is none,
//! and one that cannot be read is warned of and ignored.

use std::ffi::OsStr;
use std::time::Duration;

use wasmtrace::otlp::settings::Setting;

/// What was typed, or else what the variable says.
pub(crate) fn typed_or<T>(
    typed: Option<T>,
    variable: &str,
    (wanted, parse): (&str, impl Fn(&OsStr) -> Option<T>),
    warnings: &mut Vec<String>,
) -> Option<Setting<T>> {
    if let Some(value) = typed {
        return Some(Setting { value, from: "typed".to_owned() });
    }
    let text = std::env::var_os(variable).filter(|text| !text.to_string_lossy().trim().is_empty())?;
    let value = parse(&text);
    if value.is_none() {
        warnings.push(format!("{variable} is not {wanted}, and is ignored"));
    }
    Some(Setting { value: value?, from: variable.to_owned() })
}

pub(crate) fn number(text: &OsStr) -> Option<usize> {
    text.to_str()?.trim().parse().ok()
}

pub(crate) fn duration(text: &OsStr) -> Option<Duration> {
    humantime::parse_duration(text.to_str()?.trim()).ok()
}
