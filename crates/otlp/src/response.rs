//! The meaning of a sink's response: whether everything was accepted, why not, and whether to retry.

use std::time::Duration;

use serde_json::Value;

use wasmtrace_trace::export::Signal;

/// The reason why a request was not accepted.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) again: Retry,
    pub(super) message: String,
}

/// Whether a request can be retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// There was no response, or one that cannot be understood.
    Unanswered,
    /// Retry later: after the time that the sink asks for, if it does.
    Later(Option<Duration>),
    /// A retry would fail in the same way.
    Never,
}

/// The error for a server that does not respond like a collector.
pub(super) fn no_collector(url: &str) -> Trouble {
    Trouble { again: Retry::Never, message: format!("{url} does not respond like a collector") }
}

/// Maximum length of a sink's message that is shown.
const LONGEST_MESSAGE: usize = 200;

fn cut(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_MESSAGE) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// The sink's messages about accepted requests: each reason, with the number of items rejected for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said(Vec<(String, u64)>);

/// Maximum number of different reasons: a sink may give a new one for each request.
const MOST_REASONS: usize = 20;

const OTHER_REASONS: &str = "for other reasons";

impl Said {
    fn of(reason: &str, rejected: u64) -> Said {
        if reason.is_empty() && rejected == 0 { Said::default() } else { Said(vec![(cut(reason), rejected)]) }
    }

    /// Adds the messages of another request.
    pub(super) fn add(&mut self, more: Said) {
        for (reason, count) in more.0 {
            let others = self.0.len();
            match self.0.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, sum)) => *sum = sum.saturating_add(count),
                None if others < MOST_REASONS => self.0.push((reason, count)),
                None if others == MOST_REASONS => self.0.push((OTHER_REASONS.to_owned(), count)),
                None => self.0[MOST_REASONS].1 = self.0[MOST_REASONS].1.saturating_add(count),
            }
        }
    }

    /// Number of rejected items.
    pub(super) fn rejected(&self) -> u64 {
        self.0.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// All messages as sentences.
    pub(super) fn sentences(&self, signal: Signal) -> impl Iterator<Item = String> {
        let items = match signal {
            Signal::Traces => "spans",
            Signal::Logs => "log records",
            Signal::Metrics => "data points",
        };
        self.0.iter().map(move |(reason, count)| match (count, reason.as_str()) {
            (0, reason) => format!("the sink says: {reason}"),
            (count, "") => format!("the sink rejected {count} {items}"),
            (count, reason) => format!("the sink rejected {count} {items}: {reason}"),
        })
    }
}

/// Decodes the response to an accepted request: an `Export…ServiceResponse`, which may reject a part.
pub(super) fn of_success(signal: Signal, kind: &str, answer: &[u8]) -> Result<Said, ()> {
    let (rejected, message) = match kind {
        _ if answer.is_empty() => return Ok(Said::default()),
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
                return Ok(Said::default());
            };
            let Field::Bytes(partial) = partial.1 else { return Err(()) };
            let (mut count, mut message) = (0, String::new());
            for field in fields(partial).ok_or(())? {
                match field {
                    // Signed in the message.
                    (1, Field::Number(number)) => count = u64::try_from(number as i64).unwrap_or(0),
                    (2, Field::Bytes(text)) => message = String::from_utf8_lossy(text).into_owned(),
                    _ => {}
                }
            }
            (count, message)
        }
        "text/html" => return Err(()),
        // A short text from an intermediary.
        _ => return Ok(Said::default()),
    };
    Ok(Said::of(&message, rejected))
}

/// The message of an error response: a `google.rpc.Status`, or text.
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

/// The message of a gRPC error, from its message or its details, and the time to wait (`RetryInfo`).
pub(super) fn grpc_failure(message: &str, details: &[u8]) -> (String, Option<Duration>) {
    let (after, in_details) = status(details);
    (cut(if message.is_empty() { &in_details } else { message }), after)
}

/// Decodes a `google.rpc.Status`: the delay of a `RetryInfo` in its details, and the message.
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

/// Decodes the fields of a protobuf message; `None` if it is invalid.
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
        assert_eq!(said, Ok(Said::of("too old", 3)));
        let proto = [&[0x0a, 11, 0x08, 3, 0x12, 7][..], b"too old"].concat();
        let said = of_success(Signal::Traces, "application/x-protobuf", &proto);
        assert_eq!(said, Ok(Said::of("too old", 3)));
        for all in [&b"{}"[..], b"{\"partialSuccess\":{}}", b""] {
            assert_eq!(of_success(Signal::Logs, "application/json", all), Ok(Said::default()));
        }
    }

    #[test]
    fn what_is_said_of_many_requests_is_summed_up_by_its_reasons() {
        let mut said = Said::default();
        for request in 0..1_000 {
            said.add(Said::of("too old", 3));
            said.add(Said::of("", 1));
            said.add(Said::of(&format!("bad id {request}"), 1));
        }
        let sentences: Vec<String> = said.sentences(Signal::Traces).collect();
        assert_eq!(sentences[..2], ["the sink rejected 3000 spans: too old", "the sink rejected 1000 spans"]);
        assert_eq!((sentences.len(), said.rejected()), (MOST_REASONS + 1, 5_000));
        assert_eq!(sentences[MOST_REASONS], "the sink rejected 982 spans: for other reasons");
        let friendly: Vec<String> = Said::of("thanks", 0).sentences(Signal::Logs).collect();
        assert_eq!(friendly, ["the sink says: thanks"]);
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
