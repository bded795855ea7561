//! The place of a run in a distributed trace: W3C Trace Context, received from the host and passed to the guest.
//!
//! The run's own span is a child of the host's span and has its trace id. All other span ids are derived from the run's
//! id. A recording that contains a [`Context`] therefore gives the same spans each time it is sent.

use std::fmt::Write;

/// The parent span of a run, created by another process (<https://www.w3.org/TR/trace-context/>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The trace id; not 0.
    pub trace: u128,
    /// The span id; not 0.
    pub span: u64,
    /// Trace flags. Bit 0 is set if the caller records the trace.
    pub flags: u8,
}

/// The trace flag of traces that are sampled.
pub const SAMPLED: u8 = 1;

impl Parent {
    /// Parses a `traceparent`: `VERSION-TRACE-SPAN-FLAGS` in lower-case hex.
    ///
    /// # Errors
    /// A short description of the problem. The value must then be ignored and a new trace started.
    pub fn parse(text: &str) -> Result<Parent, &'static str> {
        let text = text.trim();
        let mut parts = text.split('-');
        let mut next = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits).ok_or("it is not VERSION-TRACE-SPAN-FLAGS")?;
            // `from_str_radix` would accept capitals and a sign.
            if !part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                return Err("it contains characters other than lower-case hex digits");
            }
            u128::from_str_radix(part, 16).map_err(|_| "it contains characters other than lower-case hex digits")
        };
        let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        match version {
            0xff => return Err("its version ff is invalid"),
            // Later versions may add fields after another dash.
            0 if parts.next().is_some() => return Err("it has data after its flags"),
            _ => {}
        }
        if trace == 0 || span == 0 {
            return Err("its trace id or span id is all zeros");
        }
        Ok(Parent { trace, span: span as u64, flags: flags as u8 })
    }
}

/// Maximum length of a `tracestate` that is passed on, in bytes.
const LONGEST_STATE: usize = 512;

/// Checks that a `tracestate` can be passed on: printable, a list of keys and values, within the limits.
///
/// # Errors
/// A short description of the problem.
pub fn state(text: &str) -> Result<String, &'static str> {
    let members = || text.split(',').map(str::trim).filter(|member| !member.is_empty());
    if text.len() > LONGEST_STATE || members().count() > 32 {
        return Err("it is longer than 512 characters or 32 entries");
    }
    if !text.bytes().all(|b| (b' '..=b'~').contains(&b)) || members().any(|m| m.find('=').is_none_or(|at| at == 0)) {
        return Err("it is not a list of KEY=VALUE");
    }
    Ok(members().collect::<Vec<_>>().join(","))
}

/// The identity of a run in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The trace id; not 0.
    pub trace: u128,
    /// The id of the run's own span; not 0.
    pub run: u64,
    /// The id of the parent span, if the host has one.
    pub parent: Option<u64>,
    /// Trace flags to pass on.
    pub flags: u8,
    /// The `tracestate` to pass on; may be empty.
    pub state: String,
}

impl Context {
    /// Creates the context of a new run: within `parent`, or with a trace id of its own. New ids are made from
    /// `random`.
    pub fn begin(parent: Option<&Parent>, state: String, random: [u8; 24]) -> Context {
        let (trace, run) = random.split_at(16);
        // Zero is the only invalid id.
        let run = u64::from_be_bytes(run.try_into().expect("8 bytes")).max(1);
        match parent {
            Some(parent) => Context { trace: parent.trace, run, parent: Some(parent.span), flags: parent.flags, state },
            None => {
                let trace = u128::from_be_bytes(trace.try_into().expect("16 bytes")).max(1);
                Context { trace, run, parent: None, flags: SAMPLED, state: String::new() }
            }
        }
    }

    /// The id of the span with this number (see [`super::span_builder::Span::number`]). Number 0 is the run's own span.
    /// Ids are distinct and not 0.
    pub fn span(&self, number: u64) -> u64 {
        match self.run ^ mix(number) {
            // Uses the id of a number that no span reaches.
            0 => self.run ^ mix(u64::MAX),
            id => id,
        }
    }

    /// Whether the trace is sampled.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The `traceparent` for work within the run's span.
    pub fn traceparent(&self) -> String {
        let mut text = String::new();
        write!(text, "00-{:032x}-{:016x}-{:02x}", self.trace, self.run, self.flags).expect("writing to memory");
        text
    }
}

/// A bijection that maps 0 to itself (the finalizer of splitmix64).
#[doc(hidden)]
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The number of a span that merges several calls. It depends on all of them: another file may merge more or fewer.
#[doc(hidden)]
pub fn merged_number(first: u64, calls: u64, total: u64) -> u64 {
    1 << 63 | mix(mix(mix(first) ^ calls) ^ total) >> 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_as_the_specification_says() {
        let parent = Parent::parse(GIVEN).unwrap();
        assert_eq!(
            (parent.trace, parent.span, parent.flags),
            (0x4bf92f3577b34da6a3ce929d0e0e4736, 0xf067aa0ba902b7, 1)
        );
        assert_eq!(Parent::parse(&format!(" {GIVEN} ")).as_ref(), Ok(&parent));
        // A later version may say more; this one may not.
        assert_eq!(Parent::parse(&GIVEN.replacen("00", "cc", 1)).as_ref(), Ok(&parent));
        assert_eq!(Parent::parse(&(GIVEN.replacen("00", "cc", 1) + "-more")).as_ref(), Ok(&parent));
        for bad in [
            "",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
        ] {
            assert!(Parent::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tracestate_is_passed_on_if_it_is_one() {
        assert_eq!(state("a=1, b=2 ,,c@d=x=y").as_deref(), Ok("a=1,b=2,c@d=x=y"));
        assert!(state("a").is_err() && state("=1").is_err() && state("a=\u{7}").is_err());
        assert!(state(&format!("a={}", "x".repeat(600))).is_err());
    }

    #[test]
    fn the_run_is_in_the_hosts_span_and_what_is_in_the_run_has_ids_of_its_own() {
        let parent = Parent::parse(GIVEN).unwrap();
        let context = Context::begin(Some(&parent), "a=1".to_owned(), [9; 24]);
        assert_eq!(context.traceparent(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0909090909090909-01");
        assert_eq!((context.parent, context.span(0)), (Some(parent.span), context.run));
        let mut ids: Vec<u64> = (0..10_000).map(|number| context.span(number)).collect();
        ids.sort_unstable();
        ids.dedup();
        assert!(ids.len() == 10_000 && ids[0] != 0);
        // The number whose id would be 0.
        let hit = Context { run: mix(77), ..context };
        assert!(hit.span(77) != 0 && hit.span(77) == hit.run ^ mix(u64::MAX));
    }
}
