//! Fitting texts into a number of terminal columns. Paths lose their first folders, names their middle.
//!
//! All texts here are printable already: they have no control characters.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar;

/// The columns that a text takes on a terminal. A text with variation selectors may take fewer.
#[doc(hidden)]
pub fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

fn columns_of(c: char) -> usize {
    match c {
        // Makes an emoji of the character before, which then takes two columns.
        '\u{fe0f}' => 1,
        c => c.width().unwrap_or(0),
    }
}

/// The longest prefix of at most `most` columns.
fn prefix(text: &str, most: usize) -> &str {
    let mut taken = 0;
    let end = text.char_indices().find(|(_, c)| {
        taken += columns_of(*c);
        taken > most
    });
    end.map_or(text, |(at, _)| &text[..at])
}

/// The longest suffix of at most `most` columns.
fn suffix(text: &str, most: usize) -> &str {
    let mut taken = 0;
    let start = text.char_indices().rev().find(|(_, c)| {
        taken += columns_of(*c);
        taken > most
    });
    start.map_or(text, |(at, c)| &text[at + c.len_utf8()..])
}

/// Cuts the end of a text.
pub(super) fn cut_end(text: &str, most: usize) -> Cow<'_, str> {
    match columns(text) > most {
        true => Cow::Owned(format!("{}…", prefix(text, most.saturating_sub(1)))),
        false => Cow::Borrowed(text),
    }
}

/// Cuts the middle of a text. More is left of its end, where the name proper is in a qualified name.
fn cut_middle(text: &str, most: usize) -> Cow<'_, str> {
    if columns(text) <= most {
        return Cow::Borrowed(text);
    }
    let both = most.saturating_sub(1);
    let start = prefix(text, both * 2 / 5);
    Cow::Owned(format!("{start}…{}", suffix(text, both - columns(start))))
}

/// Shortens the name of a function: lists of type arguments become `<…>`, the longest first, then the middle is cut.
#[doc(hidden)]
pub fn cut_name(name: &str, most: usize) -> Cow<'_, str> {
    let mut short = Cow::Borrowed(name);
    while columns(&short) > most {
        let Some((from, to)) = type_arguments(&short) else { break };
        short = Cow::Owned(format!("{}…{}", &short[..from], &short[to..]));
    }
    match short {
        Cow::Borrowed(name) => cut_middle(name, most),
        Cow::Owned(name) => Cow::Owned(cut_middle(&name, most).into_owned()),
    }
}

/// The longest list of type arguments, without its brackets: byte offsets. Lists that are cut already do not count, and
/// neither do brackets that are no lists: those of operators, arrows, and of Rust's `<Type as Trait>`.
fn type_arguments(name: &str) -> Option<(usize, usize)> {
    let mut longest: Option<(usize, usize)> = None;
    // The start of the outermost list, and the number of open brackets.
    let (mut list, mut open) = (None, 0_usize);
    let mut previous = ' ';
    for (at, c) in name.char_indices() {
        match c {
            '<' if open == 0 && name[..at].trim_end_matches('<').ends_with("operator") => {}
            '<' => {
                let follows_a_name = previous.is_alphanumeric() || matches!(previous, '_' | ':' | ']');
                if open == 0 {
                    list = follows_a_name.then_some(at + 1);
                }
                open += 1;
            }
            '>' if previous != '-' && open > 0 => {
                open -= 1;
                if let Some(from) = list.filter(|_| open == 0)
                    && at - from > '…'.len_utf8()
                    && longest.is_none_or(|(start, end)| end - start < at - from)
                {
                    longest = Some((from, at));
                }
            }
            _ => {}
        }
        previous = c;
    }
    longest
}

/// Shortens a path from its left: `…/fmt/mod.rs:12`, or only the name of the file. `None` if that does not fit either.
#[doc(hidden)]
pub fn cut_path(path: &str, most: usize) -> Option<Cow<'_, str>> {
    if columns(path) <= most {
        return Some(Cow::Borrowed(path));
    }
    let kept = suffix(path, most.saturating_sub(1));
    if let Some(at) = kept.find('/') {
        return Some(Cow::Owned(format!("…{}", &kept[at..])));
    }
    let file = file_name(path);
    (columns(file) <= most).then_some(Cow::Borrowed(file))
}

/// The part of a path after its last `/`.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Units, which stay on the line of their number.
const UNITS: [&str; 5] = ["ns", "µs", "ms", "s", "%"];

/// Words of a text, of which numbers have their units.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let is_unit = UNITS.contains(&word.trim_end_matches([',', ';', ')']));
        match words.last_mut().filter(|number| is_unit && number.ends_with(|c: char| c.is_ascii_digit())) {
            Some(number) => number.extend([" ", word]),
            None => words.push(word.to_owned()),
        }
    }
    words
}

/// Breaks a text between words into lines of at most `most` columns. Lines after the first are indented.
pub(super) fn wrapped(text: &str, most: usize) -> Vec<String> {
    const INDENT: &str = "  ";
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in words(text) {
        let word = cut_middle(&word, most - INDENT.len());
        let is_first = line.trim().is_empty();
        if !is_first && columns(&line) + 1 + columns(&word) > most {
            lines.push(std::mem::replace(&mut line, format!("{INDENT}{word}")));
        } else {
            line.extend([if is_first { "" } else { " " }, &word]);
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_of_a_terminal() {
        assert_eq!((columns("abc"), columns("函数"), columns("e\u{301}"), columns("❤\u{fe0f}")), (3, 4, 1, 2));
        assert_eq!((prefix("函数", 3), suffix("函数", 3)), ("函", "数"));
    }

    #[test]
    fn a_path_loses_its_first_folders() {
        let path = "std/core/src/fmt/mod.rs:1234";
        assert_eq!(cut_path(path, 28).unwrap(), path);
        assert_eq!(cut_path(path, 27).unwrap(), "…/core/src/fmt/mod.rs:1234");
        assert_eq!(cut_path(path, 25).unwrap(), "…/src/fmt/mod.rs:1234");
        assert_eq!(cut_path(path, 13).unwrap(), "…/mod.rs:1234");
        assert_eq!(cut_path(path, 12).unwrap(), "mod.rs:1234");
        assert_eq!(cut_path(path, 10), None);
    }

    #[test]
    fn a_name_loses_its_type_arguments_and_then_its_middle() {
        let name = "std::vector<std::map<int, long>, a<b>>::insert<It<T>>";
        assert_eq!(cut_name(name, 53), name);
        assert_eq!(cut_name(name, 52), "std::vector<…>::insert<It<T>>");
        assert_eq!(cut_name(name, 28), "std::vector<…>::insert<…>");
        assert_eq!(cut_name(name, 20), "std::ve…>::insert<…>");
        // Brackets that are no lists.
        assert_eq!(type_arguments("<a::Type<u8> as b::Trait>::f"), None);
        assert_eq!(type_arguments("a::operator<<"), None);
        assert_eq!(type_arguments("a::operator->"), None);
        assert_eq!(type_arguments("f<fn() -> u8>"), Some((2, 12)));
        assert_eq!(type_arguments("unfinished<a<b>"), None);
        assert_eq!(type_arguments("f<…>"), None);
    }

    #[test]
    fn a_text_is_broken_between_words() {
        assert_eq!(wrapped("one two three", 13), ["one two three"]);
        assert_eq!(wrapped("about 12.3 ms, or 1 s", 12), ["about", "  12.3 ms,", "  or 1 s"]);
        assert_eq!(wrapped("one two three four", 12), ["one two", "  three four"]);
        assert_eq!(wrapped("a abcdefghijklmnop b", 8), ["a ab…nop", "  b"]);
    }

    /// Whatever the text, nothing is wider than it may be.
    #[test]
    fn nothing_is_too_wide() {
        arbtest::arbtest(|u| {
            let most = u.int_in_range(4..=40)?;
            let piece = ["a", "::", "<", ">", "函", "e\u{301}", "❤\u{fe0f}", "/", " ", "->", "operator", "…"];
            let mut text = String::new();
            for _ in 0..u.int_in_range(0..=40)? {
                text += u.choose(&piece)?;
            }
            for shown in wrapped(&text, most) {
                assert!(columns(&shown) <= most, "{shown:?}");
            }
            let texts = [Some(cut_name(&text, most)), Some(cut_end(&text, most)), cut_path(&text, most)];
            for shown in texts.into_iter().flatten() {
                assert!(columns(&shown) <= most, "{shown:?}");
            }
            Ok(())
        });
    }
}
