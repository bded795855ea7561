//! What a sink's answer says: whether it took all, why not, and whether to ask again.

use std::time::Duration;

use serde_json::Value;

use crate::export::Signal;

/// A request was not taken.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) again: Again,
    pub(super) message: String,
}

/// Whether it makes sense to try once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// There was no answer: nobody is there, or somebody who says nothing that can be understood.
    Unanswered,
    /// In a while: as long as the sink says, if it does.
    Later(Option<Duration>),
    /// The answer would be the same.
    Never,
}

/// It answers, but not as a collector does.
pub(super) fn no_collector(url: &str) -> Trouble {
    Trouble { again: Again::Never, message: format!("{url} answers, but not as a collector does") }
}

/// Of what a sink says, so much is shown.
const LONGEST_MESSAGE: usize = 200;

fn cut(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_MESSAGE) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// The answer to a request that was taken: an `Export…ServiceResponse`, which may say that a part was not.
pub(super) fn of_success(signal: Signal, kind: &str, answer: &[u8]) -> Result<Option<String>, ()> {
    let (rejected, message) = match kind {
        _ if answer.is_empty() => return Ok(None),
        "application/json" => {
            let answer: Value = serde_json::from_slice(answer).map_err(|_| ())?;
            let partial = answer.as_object().ok_or(())?.get("partialSuccess").unwrap_or(&Value::Null);
            let rejected = &partial[match signal {
                Signal::Traces => "rejectedSpans",
                Signal::Logs => "rejectedLogRecords",
                Signal::Metrics => "rejectedDataPoints",
            }];
            let count = rejected.as_str().and_then(|n| n.parse().ok()).or_else(|| rejected.as_u64()).unwrap_or(0);
            (count, partial["errorMessage"].as_str().unwrap_or_default().to_owned())
        }
        "application/x-protobuf" | "application/grpc" => {
            let Some(partial) = fields(answer).ok_or(())?.into_iter().find(|(number, _)| *number == 1) else {
                return Ok(None);
            };
            let Field::Bytes(partial) = partial.1 else { return Err(()) };
            let (mut count, mut message) = (0, String::new());
            for field in fields(partial).ok_or(())? {
                match field {
                    (1, Field::Number(number)) => count = number,
                    (2, Field::Bytes(text)) => message = String::from_utf8_lossy(text).into_owned(),
                    _ => {}
                }
            }
            (count, message)
        }
        "text/html" => return Err(()),
        // Something short, from something between.
        _ => return Ok(None),
    };
    Ok(match (rejected, message.is_empty()) {
        (0, true) => None,
        (0, false) => Some(format!("the sink says: {}", cut(&message))),
        (count, true) => Some(format!("the sink rejected {count}")),
        (count, false) => Some(format!("the sink rejected {count}: {}", cut(&message))),
    })
}

/// What a sink says of a failure: a `google.rpc.Status`, or text.
pub(super) fn message(kind: &str, answer: &[u8]) -> String {
    let text = match kind {
        "application/json" => {
            let json: Value = serde_json::from_slice(answer).unwrap_or_default();
            ["message", "error"].iter().find_map(|key| json[*key].as_str()).unwrap_or_default().to_owned()
        }
        "application/x-protobuf" => status(answer).1,
        "text/html" => String::new(),
        _ => String::from_utf8_lossy(answer).into_owned(),
    };
    cut(&text)
}

/// What a failure by gRPC says: its message, or what stands in its details, and how long to wait (`RetryInfo`).
pub(super) fn grpc_failure(message: &str, details: &[u8]) -> (String, Option<Duration>) {
    let (after, in_details) = status(details);
    (cut(if message.is_empty() { &in_details } else { message }), after)
}

/// A `google.rpc.Status`: the delay of a `RetryInfo` in its details, and the message.
fn status(bytes: &[u8]) -> (Option<Duration>, String) {
    let (mut after, mut message) = (None, String::new());
    for field in fields(bytes).unwrap_or_default() {
        match field {
            (2, Field::Bytes(text)) => message = String::from_utf8_lossy(text).into_owned(),
            (3, Field::Bytes(any)) => after = after.or(retry_info(any)),
            _ => {}
        }
    }
    (after, message)
}

fn retry_info(any: &[u8]) -> Option<Duration> {
    let bytes = |message: &'_ [u8], wanted: u64| -> Option<Vec<u8>> {
        fields(message)?.into_iter().find_map(|field| match field {
            (number, Field::Bytes(bytes)) if number == wanted => Some(bytes.to_vec()),
            _ => None,
        })
    };
    if !bytes(any, 1)?.ends_with(b"google.rpc.RetryInfo") {
        return None;
    }
    let delay = bytes(&bytes(any, 2)?, 1)?;
    let mut duration = Duration::ZERO;
    for field in fields(&delay)? {
        match field {
            (1, Field::Number(seconds)) => duration += Duration::from_secs(seconds.min(1 << 32)),
            (2, Field::Number(nanos)) => duration += Duration::from_nanos(nanos.min(999_999_999)),
            _ => {}
        }
    }
    Some(duration)
}

enum Field<'f> {
    Number(u64),
    Bytes(&'f [u8]),
}

/// The fields of a protobuf message; nothing if it is none.
fn fields(bytes: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut rest = bytes;
    let varint = |rest: &mut &[u8]| -> Option<u64> {
        let mut number = 0u64;
        for at in 0..10 {
            let (byte, others) = rest.split_first()?;
            *rest = others;
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    };
    let mut found = Vec::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut rest)?),
            kind @ (1 | 2 | 5) => {
                let length = match kind {
                    1 => 8,
                    2 => usize::try_from(varint(&mut rest)?).ok()?,
                    _ => 4,
                };
                let (field, others) = rest.split_at_checked(length)?;
                rest = others;
                Field::Bytes(field)
            }
            _ => return None,
        };
        if tag >> 3 == 0 {
            return None;
        }
        found.push((tag >> 3, field));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_was_rejected_in_either_encoding() {
        let json = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#;
        let said = of_success(Signal::Traces, "application/json", json);
        assert_eq!(said, Ok(Some("the sink rejected 3: too old".to_owned())));
        let proto = [&[0x0a, 11, 0x08, 3, 0x12, 7][..], b"too old"].concat();
        let said = of_success(Signal::Traces, "application/x-protobuf", &proto);
        assert_eq!(said, Ok(Some("the sink rejected 3: too old".to_owned())));
        for all in [&b"{}"[..], b"{\"partialSuccess\":{}}", b""] {
            assert_eq!(of_success(Signal::Logs, "application/json", all), Ok(None));
        }
    }

    #[test]
    fn garbage_is_no_answer_of_a_collector() {
        assert_eq!(of_success(Signal::Traces, "application/json", b"[]"), Err(()));
        assert_eq!(of_success(Signal::Traces, "application/json", b"\xff"), Err(()));
        assert_eq!(of_success(Signal::Traces, "application/x-protobuf", b"\xff\xff"), Err(()));
        assert_eq!(of_success(Signal::Traces, "text/html", b"<html>"), Err(()));
    }

    #[test]
    fn a_failure_says_how_long_to_wait() {
        // Status { code: 8, message: "slow", details: [Any { RetryInfo { retry_delay: 2.5 s } }] }
        let url = b"type.googleapis.com/google.rpc.RetryInfo";
        let duration = [0x08, 2, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01];
        let info = [&[0x0a, duration.len() as u8][..], &duration].concat();
        let any = [&[0x0a, url.len() as u8][..], url, &[0x12, info.len() as u8], &info].concat();
        let status = [&[0x08, 8, 0x12, 4][..], b"slow", &[0x1a, any.len() as u8], &any].concat();
        assert_eq!(grpc_failure("", &status), ("slow".to_owned(), Some(Duration::from_millis(2_500))));
        assert_eq!(grpc_failure("no", b"\xff"), ("no".to_owned(), None));
        assert_eq!(message("application/x-protobuf", &status), "slow");
    }
}
