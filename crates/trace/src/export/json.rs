//! JSON that is safe to print. JSON allows characters that a terminal obeys (U+009B) or that reorder, hide or break
//! text (U+202E, U+2028). They are written as escapes, which are equivalent for every parser.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use wasmtrace_abi::hook::ProbeId;
use wasmtrace_abi::text::is_hostile;

/// Formats a value on one line, without a line break at the end.
#[doc(hidden)]
pub fn json_line(value: &Value) -> String {
    escaped(value.to_string())
}

/// Formats a value on several lines, with a line break at the end.
#[doc(hidden)]
pub fn json_text(value: &Value) -> String {
    escaped(format!("{value:#}\n"))
}

/// Formats a string with its quotes.
pub(super) fn string(text: &str) -> String {
    json_line(&Value::from(text))
}

fn escaped(json: String) -> String {
    // Line breaks are layout here: within strings they are escaped already.
    let raw = |c: char| c != '\n' && is_hostile(c);
    if !json.contains(raw) {
        return json;
    }
    let mut text = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if raw(c) {
            text.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            text.push(c);
        }
    }
    text
}

/// Truncates a text to `longest` bytes and adds an ellipsis.
pub(super) fn cut(text: Cow<'_, str>, longest: usize) -> String {
    if text.len() <= longest {
        return text.into_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(longest)])
}

/// Size limit of cached encodings in bytes; beyond it, functions are encoded each time.
const MOST_ENCODED: usize = 16 << 20;

/// The encoding of each function in a format, cached.
#[derive(Default)]
pub(super) struct Encoded {
    known: HashMap<ProbeId, String>,
    bytes: usize,
}

impl Encoded {
    pub(super) fn of(&mut self, probe: ProbeId, encode: impl FnOnce() -> String) -> Cow<'_, str> {
        if self.bytes >= MOST_ENCODED {
            return self.known.get(&probe).map_or_else(|| encode().into(), |known| known.as_str().into());
        }
        let bytes = &mut self.bytes;
        Cow::Borrowed(self.known.entry(probe).or_insert_with(|| {
            let encoded = encode();
            *bytes += encoded.len();
            encoded
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_an_escape_that_means_the_same() {
        let value = Value::from("a\u{9b}\u{202e}\u{e0041}\u{7f}\n\"µ");
        let line = json_line(&value);
        assert_eq!(line, "\"a\\u009b\\u202e\\udb40\\udc41\\u007f\\n\\\"µ\"");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!(cut("µµµ".into(), 6), "µµµ");
        assert_eq!(cut("µµµ".into(), 5), "µµ…");
    }
}
