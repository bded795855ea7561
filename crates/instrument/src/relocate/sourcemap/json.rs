//! A JSON scanner for source maps: finds members and their positions. The text stays unchanged.

use std::borrow::Cow;
use std::ops::Range;

pub(super) type Result<T, E = &'static str> = std::result::Result<T, E>;

/// A position in a JSON text.
#[derive(Debug, Clone)]
pub(super) struct Json<'a> {
    text: &'a [u8],
    at: usize,
}

const DAMAGED: &str = "it is not a JSON source map";

impl<'a> Json<'a> {
    pub(super) fn new(text: &'a [u8], at: usize) -> Self {
        Json { text, at }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += here as usize;
        here
    }

    fn want(&mut self, byte: u8) -> Result<()> {
        if self.eat(byte) { Ok(()) } else { Err(DAMAGED) }
    }

    /// Checks that only white space is left.
    pub(super) fn end(&mut self) -> Result<()> {
        if self.peek().is_none() { Ok(()) } else { Err(DAMAGED) }
    }

    /// Walks over an object. `member` gets each key and must read its value.
    pub(super) fn object(&mut self, mut member: impl FnMut(&str, &mut Self) -> Result<()>) -> Result<()> {
        self.list(b'{', b'}', |json| {
            let key = json.string()?;
            json.want(b':')?;
            member(&text_of(json.text, key)?, json)
        })
    }

    /// Walks over an array. `element` must read each element.
    pub(super) fn array(&mut self, element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.list(b'[', b']', element)
    }

    fn list(&mut self, open: u8, close: u8, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.want(open)?;
        if self.eat(close) {
            return Ok(());
        }
        loop {
            self.peek();
            item(self)?;
            if self.eat(close) {
                return Ok(());
            }
            self.want(b',')?;
        }
    }

    /// Reads a string, including its quotes.
    pub(super) fn string(&mut self) -> Result<Range<usize>> {
        self.want(b'"')?;
        let start = self.at - 1;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            self.at += rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).ok_or(DAMAGED)? + 1;
            match self.text[self.at - 1] {
                b'"' => return Ok(start..self.at),
                _ => self.at += 1,
            }
        }
    }

    /// Reads a string including its quotes, or skips another value.
    pub(super) fn string_if_any(&mut self) -> Result<Option<Range<usize>>> {
        if self.peek() == Some(b'"') { self.string().map(Some) } else { self.skip().map(|()| None) }
    }

    /// Reads a number without sign, fraction or exponent, with its position.
    pub(super) fn natural(&mut self) -> Result<(Range<usize>, u64)> {
        self.peek();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        let digits = std::str::from_utf8(&rest[..len]).expect("digits are ASCII");
        let number = digits.parse().map_err(|_| "it contains a number that is invalid or too large")?;
        self.at += len;
        Ok((self.at - len..self.at, number))
    }

    /// Skips a value. Only brackets and strings are checked within it.
    pub(super) fn skip(&mut self) -> Result<()> {
        let mut depth = 0usize;
        loop {
            match self.peek().ok_or(DAMAGED)? {
                b'"' => _ = self.string()?,
                b'{' | b'[' => (depth, self.at) = (depth + 1, self.at + 1),
                b'}' | b']' => (depth, self.at) = (depth.checked_sub(1).ok_or(DAMAGED)?, self.at + 1),
                b',' | b':' if depth > 0 => self.at += 1,
                b',' | b':' => return Err(DAMAGED),
                _ => {
                    let rest = &self.text[self.at..];
                    let ends = |byte: &u8| matches!(byte, b',' | b':' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
                    self.at += rest.iter().position(ends).unwrap_or(rest.len());
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

/// Decodes the string at that position, which includes its quotes.
pub(super) fn text_of(text: &[u8], string: Range<usize>) -> Result<Cow<'_, str>> {
    let inside = &text[string.start + 1..string.end - 1];
    let inside = std::str::from_utf8(inside).map_err(|_| "it contains a string that is not UTF-8")?;
    if !inside.contains('\\') {
        return Ok(Cow::Borrowed(inside));
    }
    let mut units: Vec<u16> = Vec::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            units.extend(c.encode_utf16(&mut [0; 2]).iter());
            continue;
        }
        units.push(match chars.next().ok_or(DAMAGED)? {
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'u' => {
                let digits = chars.as_str().get(..4).ok_or(DAMAGED)?;
                chars = chars.as_str()[4..].chars();
                u16::from_str_radix(digits, 16).map_err(|_| DAMAGED)?
            }
            c @ ('"' | '\\' | '/') => c as u16,
            _ => return Err(DAMAGED),
        });
    }
    Ok(Cow::Owned(String::from_utf16_lossy(&units)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_say_what_their_escapes_stand_for() {
        for (json, said) in
            [(r#""a/b""#, "a/b"), (r#""a\/\u00b5\ud83d\ude00\"\n""#, "a/µ😀\"\n"), (r#""\ud800""#, "\u{fffd}")]
        {
            let range = Json::new(json.as_bytes(), 0).string().unwrap();
            assert_eq!(text_of(json.as_bytes(), range).unwrap(), said);
        }
        for damaged in [r#""a"#, r#""\"#, r#""\x""#, r#""\u12""#, r#""\u12µ""#] {
            let read = Json::new(damaged.as_bytes(), 0).string();
            assert!(read.and_then(|range| text_of(damaged.as_bytes(), range)).is_err(), "{damaged}");
        }
    }

    #[test]
    fn what_does_not_matter_is_stepped_over() {
        let json = br#" { "a" : [ {"}":"]"} , 1.5e3, [] ], "b": null , "c":12 } "#;
        let mut seen = Vec::new();
        let mut reader = Json::new(json, 0);
        let read = reader.object(|key, value| {
            seen.push(key.to_owned());
            if key == "c" { value.natural().map(|(_, n)| assert_eq!(n, 12)) } else { value.skip() }
        });
        assert_eq!(read.and_then(|()| reader.end()), Ok(()));
        assert_eq!(seen, ["a", "b", "c"]);
        for damaged in ["", "{", "[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{}x", "[]]"] {
            let mut reader = Json::new(damaged.as_bytes(), 0);
            assert!(reader.object(|_, value| value.skip()).and_then(|()| reader.end()).is_err(), "{damaged}");
        }
    }
}
