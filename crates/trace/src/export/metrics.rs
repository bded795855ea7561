//! Metrics reported by the guest's own code, one statsd line each, aggregated into series: `NAME:VALUE|TYPE`,
//! optionally with `|@RATE` and `|#KEY:VALUE,…`. Types are `c` (counter), `g` (gauge; a leading sign means a change),
//! `s` (number of distinct values), `ms` (a time), `h` and `d` (a distribution).

use std::collections::{HashMap, HashSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Counter,
    Gauge,
    Set,
    Histogram,
    Timing,
}

/// The aggregated value of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum Point {
    Number(f64),
    Histogram(Histogram),
}

/// The default histogram bounds of OpenTelemetry SDKs.
pub const BOUNDS: [f64; 15] =
    [0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0, 10000.0];

#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Number of values in each bucket: above the previous bound and at most this one. The last bucket is above all
    /// bounds.
    pub counts: [u64; BOUNDS.len() + 1],
    pub sum: f64,
    pub min: f64,
    pub max: f64,
}

impl Histogram {
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// A series: all values reported under one name, with one kind and the same tags.
#[derive(Debug, Clone)]
pub struct Series {
    pub name: String,
    pub kind: Kind,
    pub tags: Vec<(String, String)>,
    pub point: Point,
    members: HashSet<String>,
}

impl Series {
    /// The unit in UCUM, as OpenTelemetry uses it.
    pub fn unit(&self) -> &'static str {
        if self.kind == Kind::Timing { "ms" } else { "" }
    }

    fn new(name: &str, kind: Kind, tags: Vec<(String, String)>) -> Series {
        let point = match kind {
            Kind::Counter | Kind::Gauge | Kind::Set => Point::Number(0.0),
            Kind::Histogram | Kind::Timing => {
                let counts = [0; BOUNDS.len() + 1];
                Point::Histogram(Histogram { counts, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY })
            }
        };
        Series { name: name.to_owned(), kind, tags, point, members: HashSet::new() }
    }

    fn add(&mut self, text: &str, value: f64, rate: f64) {
        match (&mut self.point, self.kind) {
            (Point::Number(number), Kind::Counter) => *number += value / rate,
            (Point::Number(number), Kind::Set) => {
                if self.members.len() < MOST_MEMBERS {
                    self.members.insert(text.to_owned());
                }
                *number = self.members.len() as f64;
            }
            (Point::Number(number), _) if text.starts_with(['+', '-']) => *number += value,
            (Point::Number(number), _) => *number = value,
            (Point::Histogram(histogram), _) => {
                // A sampled value represents several.
                let times = (1.0 / rate).round().max(1.0);
                let bucket = BOUNDS.iter().position(|bound| value <= *bound).unwrap_or(BOUNDS.len());
                histogram.counts[bucket] += times as u64;
                histogram.sum += value * times;
                histogram.min = histogram.min.min(value);
                histogram.max = histogram.max.max(value);
            }
        }
    }
}

/// OpenTelemetry's default limit for the number of series. Values of further series are only counted.
const MOST_SERIES: usize = 2_000;

/// Limit for the number of distinct values of a set.
const MOST_MEMBERS: usize = 10_000;

/// All series of a run.
#[derive(Debug, Default)]
pub struct Metrics {
    series: Vec<Series>,
    known: HashMap<(String, Kind, String), usize>,
    /// Number of lines in an unknown format or of a series beyond the limit.
    pub left_out: u64,
}

impl Metrics {
    pub fn line(&mut self, line: &str) {
        if self.add(line.trim()).is_none() {
            self.left_out += 1;
        }
    }

    fn add(&mut self, line: &str) -> Option<()> {
        let (name, rest) = line.split_once(':').filter(|(name, _)| !name.is_empty())?;
        let mut parts = rest.split('|');
        let value = parts.next()?;
        let kind = match parts.next()? {
            "c" => Kind::Counter,
            "g" => Kind::Gauge,
            "s" => Kind::Set,
            "ms" => Kind::Timing,
            "h" | "d" => Kind::Histogram,
            _ => return None,
        };
        let (mut rate, mut tags) = (1.0, "");
        for part in parts {
            if let Some(text) = part.strip_prefix('@') {
                rate = text.parse().ok().filter(|rate| *rate > 0.0 && *rate <= 1.0)?;
            } else if let Some(text) = part.strip_prefix('#') {
                tags = text;
            }
        }
        let number = match kind {
            Kind::Set => 0.0,
            _ => value.parse().ok().filter(|number: &f64| number.is_finite())?,
        };
        let key = (name.to_owned(), kind, tags.to_owned());
        let at = match self.known.get(&key) {
            Some(at) => *at,
            None if self.series.len() >= MOST_SERIES => return None,
            None => {
                let tags = tags.split(',').filter(|tag| !tag.is_empty());
                let tags = tags.map(|tag| tag.split_once(':').unwrap_or((tag, "")));
                let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                self.series.push(Series::new(name, kind, tags));
                self.known.insert(key, self.series.len() - 1);
                self.series.len() - 1
            }
        };
        self.series[at].add(value, number, rate);
        Some(())
    }

    /// The series grouped by metric: one name and one kind.
    pub fn by_metric(&self) -> Vec<Vec<&Series>> {
        let mut order: Vec<Vec<&Series>> = Vec::new();
        let mut known: HashMap<(&str, Kind), usize> = HashMap::new();
        for series in &self.series {
            let at = *known.entry((&series.name, series.kind)).or_insert_with(|| {
                order.push(Vec::new());
                order.len() - 1
            });
            order[at].push(series);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Metrics {
        let mut metrics = Metrics::default();
        lines.iter().for_each(|line| metrics.line(line));
        metrics
    }

    fn numbers(metrics: &Metrics) -> Vec<(&str, f64)> {
        let number = |series: &Series| if let Point::Number(number) = series.point { number } else { f64::NAN };
        metrics.series.iter().map(|s| (s.name.as_str(), number(s))).collect()
    }

    #[test]
    fn lines_of_statsd_are_summed_up() {
        let metrics = of(&["a:1|c", "a:2|c|@0.5", "g:7|g", "g:-2|g", "s:x|s", "s:y|s", "s:x|s"]);
        assert_eq!(numbers(&metrics), [("a", 5.0), ("g", 5.0), ("s", 2.0)]);
        assert_eq!(metrics.left_out, 0);
    }

    #[test]
    fn values_are_distributed_over_buckets_that_end_at_their_bounds() {
        let metrics = of(&["t:5|ms", "t:5.1|ms", "t:99999|ms", "t:-1|ms"]);
        let Point::Histogram(h) = &metrics.series[0].point else { panic!() };
        assert_eq!((h.counts[0], h.counts[1], h.counts[2], h.counts[15], h.count()), (1, 1, 1, 1, 4));
        assert_eq!((h.min, h.max), (-1.0, 99999.0));
    }

    #[test]
    fn tags_make_series_of_one_metric() {
        let metrics = of(&["a:1|c|#k:v", "a:1|c|#k:w,x", "a:1|c|#k:v", "a:1|g"]);
        let by_metric = metrics.by_metric();
        assert_eq!(by_metric.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(by_metric[0][1].tags, [pair("k", "w"), pair("x", "")]);
        assert_eq!(numbers(&metrics), [("a", 2.0), ("a", 1.0), ("a", 1.0)]);
    }

    #[test]
    fn what_is_no_line_of_statsd_is_counted_and_so_are_series_without_end() {
        let metrics = of(&["", "a", "a:1", "a:x|c", ":1|c", "a:1|q", "a:1|c|@0", "a:nan|g"]);
        assert_eq!((metrics.series.len(), metrics.left_out), (0, 8));
        let mut metrics = Metrics::default();
        (0..3_000).for_each(|n| metrics.line(&format!("a:1|c|#n:{n}")));
        assert_eq!((metrics.series.len(), metrics.left_out), (MOST_SERIES, 1_000));
    }
}
