//! `diff --fail-on METRIC[:RULE](>|<)AMOUNT`: what must not happen, and whether it did.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wasmtrace::export::duration;
use wasmtrace::select::{Rules, select_recorded};
use wasmtrace::trace::diff::Change;

/// A parsed expression.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    /// As it was typed.
    pub(crate) text: String,
    pub(crate) metric: Metric,
    /// The functions that it is about; `None` is the whole program.
    pub(crate) rule: Option<Rules>,
    /// Whether more than the limit is a breach; otherwise less than it is.
    is_most: bool,
    limit: Limit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    Calls,
    Own,
    Total,
    Duration,
}

/// Calls, nanoseconds, or a share.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Limit {
    /// Of the value after.
    Value(f64),
    /// Of the difference.
    Difference(f64),
    /// Of the relative difference: 0.05 is 5 %.
    Relative(f64),
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Holds,
    /// The medians breach it, but noise explains that.
    WithinTheSpread,
    Breached,
}

const EXAMPLES: &str = "examples: `calls>+5%`, `self:crate:app>+20%`, `total:main.handle>5ms`, `duration>+10%`";

impl Condition {
    /// Parses an expression. The error names the part that is wrong.
    pub(crate) fn parse(text: &str) -> Result<Condition, String> {
        let bad = |why: String| format!("{why}; {EXAMPLES}");
        // The pattern of a rule may contain `>`, and an amount does not.
        let at = text.rfind(['>', '<']).ok_or_else(|| bad("there is no `>` or `<`".to_owned()))?;
        let (left, amount) = (text[..at].trim(), text[at + 1..].trim());
        let is_most = text[at..].starts_with('>');
        let (name, rule) = match left.split_once(':') {
            Some((name, rule)) => (name, Some(rule)),
            None => (left, None),
        };
        let metric = Metric::from_name(name)
            .ok_or_else(|| bad(format!("`{name}` is not a metric: expected calls, self, total or duration")))?;
        if metric == Metric::Duration && rule.is_some() {
            return Err(bad("`duration` is that of the whole run and takes no rule".to_owned()));
        }
        let rule = rule.map(parse_rule).transpose().map_err(bad)?;
        let limit = Limit::parse(amount, metric).map_err(bad)?;
        let condition = Condition { text: text.to_owned(), metric, rule, is_most, limit };
        if metric != Metric::Calls && condition.fires_at_once() {
            let why = format!("`{text}` would be breached by an unchanged program, whose times always vary");
            return Err(bad(why));
        }
        Ok(condition)
    }

    /// Whether an unchanged program is a breach.
    fn fires_at_once(&self) -> bool {
        match self.limit {
            Limit::Value(_) => false,
            Limit::Difference(limit) | Limit::Relative(limit) => self.exceeds(0.0, limit),
        }
    }

    fn exceeds(&self, value: f64, limit: f64) -> bool {
        if self.is_most { value > limit } else { value < limit }
    }

    /// Whether a change breaches the condition.
    pub(crate) fn judge(&self, change: &Change) -> Outcome {
        let difference = change.difference();
        let relative = change.relative().unwrap_or(f64::INFINITY);
        // A difference of 0 is no noise.
        let is_certain = change.is_significant || self.fires_at_once();
        let (exceeds, is_certain) = match self.limit {
            Limit::Difference(limit) => (self.exceeds(difference as f64, limit), is_certain),
            Limit::Relative(limit) => (self.exceeds(relative, limit), is_certain),
            Limit::Value(limit) => {
                // Each recording must be beyond the limit, not only the one in the middle.
                let nearest = if self.is_most { change.after.min } else { change.after.max };
                (self.exceeds(change.after.median as f64, limit), self.exceeds(nearest as f64, limit))
            }
        };
        match (exceeds, is_certain) {
            (false, _) => Outcome::Holds,
            (true, false) => Outcome::WithinTheSpread,
            (true, true) => Outcome::Breached,
        }
    }

    /// What changed, in one sentence without its end.
    pub(crate) fn describe(&self, change: &Change) -> String {
        let value = |value| self.metric.show(value);
        let name = self.metric.about();
        let from_to = format!("from {} to {}", value(change.before.median), value(change.after.median));
        match self.limit {
            Limit::Value(limit) => {
                let side = if self.is_most { "more" } else { "less" };
                let limit = value(limit as u64);
                format!("{name} is {} after the change, {side} than {limit}", value(change.after.median))
            }
            _ if change.difference() == 0 => format!("{name} stays at {}", value(change.after.median)),
            _ => {
                let verb = if change.difference() > 0 { "rose" } else { "fell" };
                let by = value(change.difference().unsigned_abs());
                format!("{name} {verb} by {by} ({}), {from_to}", percent(change))
            }
        }
    }

    pub(crate) fn json(&self, change: &Change, outcome: Outcome) -> Value {
        json!({
            "expression": self.text,
            "change": crate::diff_json::change(change),
            "outcome": match outcome {
                Outcome::Holds => "holds",
                Outcome::WithinTheSpread => "within_the_spread",
                Outcome::Breached => "breached",
            },
        })
    }
}

fn parse_rule(text: &str) -> Result<Rules, String> {
    if text.starts_with(['+', '-']) {
        return Err(format!("the rule `{text}` has a sign: leave it out"));
    }
    let mut rules = Rules::default();
    rules.push(text).map_err(|e| e.message().to_owned())?;
    // Some rules need the module.
    select_recorded(&BTreeMap::new(), &rules).map_err(|e| e.message().to_owned())?;
    Ok(rules)
}

impl Metric {
    fn from_name(name: &str) -> Option<Metric> {
        match name {
            "calls" => Some(Metric::Calls),
            "self" => Some(Metric::Own),
            "total" => Some(Metric::Total),
            "duration" => Some(Metric::Duration),
            _ => None,
        }
    }

    fn about(self) -> &'static str {
        match self {
            Metric::Calls => "the number of calls",
            Metric::Own => "the self time",
            Metric::Total => "the total time",
            Metric::Duration => "the duration",
        }
    }

    fn show(self, value: u64) -> String {
        match self {
            Metric::Calls => value.to_string(),
            _ => duration(value),
        }
    }
}

impl Limit {
    fn parse(text: &str, metric: Metric) -> Result<Limit, String> {
        let (sign, rest) = match text.as_bytes().first() {
            Some(b'+') => (Some(1.0), &text[1..]),
            Some(b'-') => (Some(-1.0), &text[1..]),
            _ => (None, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, unit) = (&rest[..end], rest[end..].trim());
        let number: f64 = digits.parse().map_err(|_| format!("`{text}` is not an amount"))?;
        if unit == "%" {
            let sign = sign.ok_or_else(|| format!("`{text}` has no sign: write `+{text}` or `-{text}`"))?;
            return Ok(Limit::Relative(sign * number / 100.0));
        }
        let factor = match (metric, unit) {
            (Metric::Calls, "") if number.fract() == 0.0 => 1.0,
            (Metric::Calls, _) => return Err(format!("`{text}` is not a number of calls")),
            (_, "ns") => 1.0,
            (_, "us" | "µs" | "μs") => 1e3,
            (_, "ms") => 1e6,
            (_, "s") => 1e9,
            (_, "") if number == 0.0 => 1.0,
            (_, "") => return Err(format!("`{text}` has no unit: write ns, us, ms, s or %")),
            (_, unit) => return Err(format!("`{unit}` in `{text}` is not a unit: expected ns, us, ms, s or %")),
        };
        Ok(match sign {
            None => Limit::Value(number * factor),
            Some(sign) => Limit::Difference(sign * number * factor),
        })
    }
}

/// The relative difference: `+12.3 %`.
pub(crate) fn percent(change: &Change) -> String {
    match change.relative() {
        None => "new".to_owned(),
        Some(relative) if relative >= 9.995 => format!("×{:.0}", relative + 1.0),
        Some(relative) => format!("{:+.1} %", relative * 100.0),
    }
}

#[cfg(test)]
mod tests {
    use wasmtrace::trace::diff::Spread;

    use super::*;

    fn change(before: u64, after: u64, is_significant: bool) -> Change {
        let of = |value| Spread { min: value, median: value, max: value };
        Change { before: of(before), after: of(after), is_significant }
    }

    fn judge(expression: &str, change: &Change) -> Outcome {
        Condition::parse(expression).unwrap_or_else(|e| panic!("{expression}: {e}")).judge(change)
    }

    #[test]
    fn each_kind_of_amount_has_a_limit() {
        use Outcome::*;
        for (expression, before, after, outcome) in [
            ("calls>1000", 5, 1000, Holds),
            ("calls>1000", 5, 1001, Breached),
            ("calls<10", 5, 9, Breached),
            ("calls>+5", 10, 15, Holds),
            ("calls>+5", 10, 16, Breached),
            ("calls>+5%", 100, 105, Holds),
            ("calls>+5%", 100, 106, Breached),
            ("calls>+5%", 0, 1, Breached),
            ("calls>+5%", 0, 0, Holds),
            ("calls<-10%", 100, 90, Holds),
            ("calls<-10%", 100, 89, Breached),
            ("self>5ms", 0, 5_000_001, Breached),
            ("self>1.5us", 0, 1_500, Holds),
            ("total>+5ms", 1, 5_000_002, Breached),
            ("duration>+20%", 10, 13, Breached),
            ("duration > +20%", 10, 12, Holds),
        ] {
            assert_eq!(
                judge(expression, &change(before, after, before != after)),
                outcome,
                "{expression} {before} {after}"
            );
        }
    }

    #[test]
    fn noise_is_no_breach() {
        assert_eq!(judge("self>+5%", &change(100, 120, false)), Outcome::WithinTheSpread);
        let ranges = |min, median, max| Change { after: Spread { min, median, max }, ..change(0, 0, true) };
        assert_eq!(judge("self>100ns", &ranges(99, 120, 130)), Outcome::WithinTheSpread);
        assert_eq!(judge("self>100ns", &ranges(101, 120, 130)), Outcome::Breached);
        assert_eq!(judge("self<100ns", &ranges(50, 60, 100)), Outcome::WithinTheSpread);
        // Calls that must become fewer, and do not.
        assert_eq!(judge("calls>-10%", &change(100, 100, false)), Outcome::Breached);
    }

    #[test]
    fn a_rule_may_contain_the_characters_of_the_expression() {
        let condition = Condition::parse("calls:<app::A as B<u8>>::f>+5%").unwrap();
        assert_eq!(condition.rule.unwrap().text(0), Some("<app::A as B<u8>>::f"));
        let condition = Condition::parse("total:file:src/x.rs<5s").unwrap();
        assert_eq!((condition.rule.unwrap().text(0), condition.is_most), (Some("file:src/x.rs"), false));
    }

    #[test]
    fn errors_name_the_part_that_is_wrong() {
        for (expression, part) in [
            ("calls", "there is no `>` or `<`"),
            ("call>5", "`call` is not a metric"),
            ("calls>", "`` is not an amount"),
            ("calls>5%", "`5%` has no sign"),
            ("calls>5ms", "not a number of calls"),
            ("calls>1.5", "not a number of calls"),
            ("calls>1.5.1", "not an amount"),
            ("self>5", "has no unit"),
            ("self>5h", "`h` in `5h` is not a unit"),
            ("self>-5%", "unchanged program"),
            ("duration:main>5s", "takes no rule"),
            ("self:-@std>5s", "has a sign"),
            ("self:@nosuch>5s", "@nosuch"),
            ("self:@tiny>5s", "needs the module"),
            ("self:>5s", "the pattern is missing"),
        ] {
            let error = Condition::parse(expression).unwrap_err();
            assert!(error.contains(part) && error.contains("examples: "), "{expression}: {error}");
        }
    }
}
