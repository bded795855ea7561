//! `data:` URLs (RFC 2397) with base64 and percent-encoding, in which a module may contain its source map.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// With or without padding, and whatever the bits behind the last byte are.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value of a base64 digit.
pub(super) fn digit(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

/// The base64 digit of the low six bits.
pub(super) fn as_digit(six: u32) -> u8 {
    ALPHABET[(six & 0x3f) as usize]
}

/// Whether a URL contains its data.
pub fn is_data(url: &str) -> bool {
    url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

/// Decodes a `data:` URL; `None` if it is damaged or another kind of URL.
pub(super) fn read_data(url: &str) -> Option<Vec<u8>> {
    let (head, data) = split(url)?;
    if is_base64(head) { decode(data.as_bytes()) } else { decode_percent(data) }
}

/// Replaces the data of a `data:` URL.
pub(super) fn write_data(url: &str, data: &[u8]) -> Option<String> {
    let (head, _) = split(url)?;
    let mut out = format!("{head},");
    if is_base64(head) {
        BASE64.encode_string(data, &mut out);
    } else {
        encode_percent(data, &mut out);
    }
    Some(out)
}

fn split(url: &str) -> Option<(&str, &str)> {
    if is_data(url) { url.split_once(',') } else { None }
}

fn is_base64(head: &str) -> bool {
    head.rsplit_once(';').is_some_and(|(_, last)| last.eq_ignore_ascii_case("base64"))
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// Decodes percent-encoded text.
fn decode_percent(text: &str) -> Option<Vec<u8>> {
    let is_whole = |rest: &str| rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    let whole = text.split('%').skip(1).all(is_whole);
    whole.then(|| percent_encoding::percent_decode_str(text).collect())
}

/// Percent-encodes everything but unreserved characters (RFC 3986, 2.3).
fn encode_percent(data: &[u8], out: &mut String) {
    const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    out.extend(percent_encoding::percent_encode(data, &RESERVED));
}

/// The relative URL of a file in the same directory as the module that links to it.
pub fn url_of_file(name: &str) -> String {
    let mut url = String::new();
    encode_percent(name.as_bytes(), &mut url);
    url
}

/// The path of the file that a URL names, if the URL is relative and stays within the module's directory. A module is
/// untrusted and must not name other files to read.
pub fn file_of_url(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = String::from_utf8(decode_percent(path)?).ok()?;
    let path = path.strip_prefix("./").unwrap_or(&path);
    let part_of_a_path = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', ':', '\0']);
    path.split('/').all(part_of_a_path).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_comes_back_out_of_its_url() {
        for head in ["data:application/json;base64", "data:application/json;charset=utf-8;base64", "data:,x"] {
            let url = format!("{head},");
            for len in 0..20u8 {
                let data: Vec<u8> = (0..len).map(|i| i.wrapping_mul(151).wrapping_add(7)).collect();
                let written = write_data(&url, &data).unwrap();
                assert_eq!(read_data(&written), Some(data), "{written}");
            }
        }
        assert_eq!(read_data("data:application/json;base64,YWJj"), Some(b"abc".to_vec()));
        assert_eq!(read_data("data:;base64,YWI="), Some(b"ab".to_vec()));
        assert_eq!(read_data("DATA:,a%20b"), Some(b"a b".to_vec()));
        for damaged in ["data:;base64,Y", "data:;base64,Y===", "data:;base64,Y?Jj", "data:,%4", "data:", "x,y"] {
            assert_eq!(read_data(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn a_url_names_a_file_beside_or_below_or_none() {
        for (url, file) in [
            ("app.wasm.map", Some("app.wasm.map")),
            ("./maps/a%20b.map?v=1#x", Some("maps/a b.map")),
            ("http://host/app.map", None),
            ("//host/app.map", None),
            ("/etc/app.map", None),
            ("../app.map", None),
            ("maps/%2e%2e/%2E./app.map", None),
            ("C:\\app.map", None),
            ("a%00b", None),
            ("", None),
        ] {
            assert_eq!(file_of_url(url).as_deref(), file, "{url}");
        }
        assert_eq!(file_of_url(&url_of_file("a b%µ?.map")).as_deref(), Some("a b%µ?.map"));
    }
}
