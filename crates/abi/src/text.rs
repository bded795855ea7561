//! Escaping text from modules for terminals.

use std::borrow::Cow;

/// Escapes control characters and characters that reorder or hide text, so that a name from a module is safe to print.
/// A module is untrusted: a terminal would obey an escape sequence in a name.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hostile(c) { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

/// Whether a character is a control character, a line separator, or a format character that Unicode TR 36 warns of:
/// directional marks, embeddings, overrides and isolates, zero-width characters, tags.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Bytes in lower-case hex, two digits each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_reordering_never_reach_a_terminal() {
        assert_eq!(printable("ok µ 函数"), "ok µ 函数");
        assert_eq!(printable("\x1b[31mred\u{202e}\u{9b}"), "\\u{1b}[31mred\\u{202e}\\u{9b}");
    }
}
