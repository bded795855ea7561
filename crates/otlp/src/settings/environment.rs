//! Reads the settings from the environment.

use std::path::PathBuf;
use std::time::Duration;

use super::{Exporter, Protocol, Sampler, Setting, SettingWarning, Settings, Target, decoded};
use wasmtrace_trace::export::{Encoding, Limits, Signal, url};

/// Reads variables and collects warnings.
struct Reader<'r> {
    variable: &'r dyn Fn(&str) -> Option<String>,
    warnings: Vec<SettingWarning>,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> Option<Setting<String>> {
        let value = (self.variable)(name)?.trim().to_owned();
        (!value.is_empty()).then(|| Setting { value, from: name.to_owned() })
    }

    fn parse<T>(&mut self, name: &str, wanted: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Setting<T>> {
        let text = self.text(name)?;
        match parse(&text.value) {
            Some(value) => Some(Setting { value, from: text.from }),
            None => {
                // Several signals may ask for the same variable; it is reported once.
                let warning = SettingWarning::Invalid { variable: name.to_owned(), expected: wanted.to_owned() };
                self.warnings.extend(Some(warning).filter(|warning| !self.warnings.contains(warning)));
                None
            }
        }
    }

    /// The variable of a signal, or else the general one.
    fn of_signal<T>(
        &mut self,
        signal: Signal,
        name: &str,
        wanted: &str,
        parse: impl Fn(&str) -> Option<T> + Copy,
    ) -> Option<Setting<T>> {
        let own = format!("OTEL_EXPORTER_OTLP_{}_{name}", of(signal));
        self.parse(&own, wanted, parse).or_else(|| self.parse(&format!("OTEL_EXPORTER_OTLP_{name}"), wanted, parse))
    }

    fn number<T: std::str::FromStr>(&mut self, name: &str) -> Option<T> {
        self.parse(name, "a number", |text| text.parse().ok()).map(|set| set.value)
    }
}

fn of(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "TRACES",
        Signal::Logs => "LOGS",
        Signal::Metrics => "METRICS",
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Parses `KEY=VALUE,…` with percent-encoding, as in W3C Baggage.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let (key, value) = entry.split_once('=')?;
            let (key, value) = (decoded(key.trim())?, decoded(value.trim())?);
            (!key.is_empty()).then_some((key, value))
        })
        .collect()
}

fn protocol(text: &str) -> Option<Protocol> {
    match text {
        "grpc" => Some(Protocol::Grpc),
        "http/protobuf" => Some(Protocol::Http(Encoding::Proto)),
        "http/json" => Some(Protocol::Http(Encoding::Json)),
        _ => None,
    }
}

/// The default port of OTLP over gRPC.
const GRPC_PORT: &str = "4317";

const ZIPKIN: &str = "http://localhost:9411/api/v2/spans";

impl Settings {
    /// Reads the settings from the environment, through `variable`.
    pub fn read(target: &Target, variable: &dyn Fn(&str) -> Option<String>) -> Settings {
        let mut r = Reader { variable, warnings: Vec::new() };
        let disabled = r.parse("OTEL_SDK_DISABLED", "true or false", boolean);
        let traces = exporters(&mut r, Signal::Traces);
        let zipkin = match (target, &traces) {
            (Target::Environment, Some(named)) => named.value.iter().any(|name| name == "zipkin"),
            (target, _) => matches!(target, Target::Zipkin(_)),
        };
        let wants = |named: &Option<Setting<Vec<String>>>| {
            let otlp = |names: &Vec<String>| names.iter().any(|name| name == "otlp");
            named.as_ref().map(|named| Setting { value: otlp(&named.value), from: named.from.clone() })
        };
        let endpoint = r.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| r.text("OTEL_EXPORTER_OTLP_ENDPOINT"));
        let asked = match (&traces, endpoint) {
            (Some(named), _) => {
                Setting { value: zipkin || named.value.iter().any(|name| name == "otlp"), from: named.from.clone() }
            }
            (None, Some(endpoint)) => endpoint.map(|_| true),
            (None, None) => Setting::default(false),
        };
        let (url, otlp) = match target {
            Target::Otlp(url) => (url.as_deref(), true),
            _ => (None, false),
        };
        let typed = || Setting { value: true, from: "--sink".to_owned() };
        let mut traces = match target {
            _ if zipkin => zipkin_exporter(&mut r, target),
            _ => exporter(&mut r, Signal::Traces, url, Some(asked.clone())),
        };
        if otlp || matches!(target, Target::Zipkin(_)) {
            traces.enabled = typed();
        }
        let mut of_signal = |signal| {
            let named = exporters(&mut r, signal);
            let by_default = Setting { value: traces.enabled.value && !zipkin, from: traces.enabled.from.clone() };
            let enabled = wants(&named).unwrap_or(by_default);
            let enabled = if zipkin { Setting { value: false, from: "zipkin".to_owned() } } else { enabled };
            exporter(&mut r, signal, url, Some(enabled))
        };
        let (logs, metrics) = (of_signal(Signal::Logs), of_signal(Signal::Metrics));
        let delta =
            r.parse("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative, delta or lowmemory", |t| match t
                .to_ascii_lowercase()
                .as_str()
            {
                "cumulative" => Some(false),
                "delta" | "lowmemory" => Some(true),
                _ => None,
            });
        let sampler = sampler(&mut r);
        let limits = limits(&mut r);
        let resource = resource(&mut r);
        let propagate = r.parse("OTEL_PROPAGATORS", "a list of propagators", |text| {
            let has = |name: &str| text.split(',').any(|p| p.trim() == name);
            Some([has("tracecontext"), has("baggage")])
        });
        Settings {
            disabled: disabled.unwrap_or(Setting::default(false)),
            asked,
            traces,
            logs,
            metrics,
            delta: delta.unwrap_or(Setting::default(false)),
            sampler,
            limits,
            resource,
            propagate: propagate.unwrap_or(Setting::default([true, true])),
            warnings: r.warnings,
        }
    }
}

/// Reads `OTEL_TRACES_EXPORTER` and its counterparts.
fn exporters(r: &mut Reader<'_>, signal: Signal) -> Option<Setting<Vec<String>>> {
    let name = format!("OTEL_{}_EXPORTER", of(signal));
    let known = ["otlp", "zipkin", "console", "logging", "none"];
    let names: Setting<Vec<String>> =
        r.text(&name)?.map(|text| text.split(',').map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect());
    for unknown in names.value.iter().filter(|n| !known.contains(&n.as_str())) {
        let (variable, exporter) = (name.clone(), unknown.clone());
        r.warnings.push(SettingWarning::UnknownExporter { variable, exporter });
    }
    Some(names)
}

fn exporter(r: &mut Reader<'_>, signal: Signal, url: Option<&str>, enabled: Option<Setting<bool>>) -> Exporter {
    let protocol = r.of_signal(signal, "PROTOCOL", "grpc, http/protobuf or http/json", protocol);
    let own = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", of(signal));
    let insecure = r.of_signal(signal, "INSECURE", "true or false", boolean).is_some_and(|set| set.value);
    // gRPC endpoints may lack a scheme.
    let scheme = if insecure { "http" } else { "https" };
    let address = |given: Setting<String>| given.map(|text| url::address(&text, scheme).unwrap_or(text));
    let base = url.map(|url| Setting { value: url.to_owned(), from: "--sink".to_owned() });
    // The endpoint of a signal is used unchanged.
    let whole = if base.is_none() { r.text(&own).map(address) } else { None };
    let base = base.or_else(|| r.text("OTEL_EXPORTER_OTLP_ENDPOINT")).map(address);
    let given = whole.as_ref().or(base.as_ref());
    let protocol = protocol.unwrap_or_else(|| match given {
        Some(endpoint) if url::port(&endpoint.value) == Some(GRPC_PORT) => {
            Setting { value: Protocol::Grpc, from: format!("port {GRPC_PORT}") }
        }
        _ => Setting::default(Protocol::Http(Encoding::Proto)),
    });
    let path = match (protocol.value, signal) {
        (Protocol::Grpc, _) => "",
        (_, Signal::Traces) => "/v1/traces",
        (_, Signal::Logs) => "/v1/logs",
        (_, Signal::Metrics) => "/v1/metrics",
    };
    let base = base.unwrap_or_else(|| {
        let port = if protocol.value == Protocol::Grpc { GRPC_PORT } else { "4318" };
        Setting::default(format!("http://localhost:{port}"))
    });
    let endpoint = whole.unwrap_or_else(|| base.map(|base| url::extended(&base, path)));
    let file = |text: &str| Some(Some(PathBuf::from(text)));
    Exporter {
        enabled: enabled.unwrap_or(Setting::default(false)),
        endpoint,
        headers: r.of_signal(signal, "HEADERS", "a list of KEY=VALUE", pairs).unwrap_or(Setting::default(Vec::new())),
        timeout: r
            .of_signal(signal, "TIMEOUT", "a number of milliseconds", millis)
            .unwrap_or(Setting::default(DEFAULT_TIMEOUT)),
        gzip: r
            .of_signal(signal, "COMPRESSION", "gzip or none", |text| match text {
                "gzip" => Some(true),
                "none" => Some(false),
                _ => None,
            })
            .unwrap_or(Setting::default(false)),
        certificate: r.of_signal(signal, "CERTIFICATE", "a file", file).unwrap_or(Setting::default(None)),
        client_certificate: r.of_signal(signal, "CLIENT_CERTIFICATE", "a file", file).unwrap_or(Setting::default(None)),
        client_key: r.of_signal(signal, "CLIENT_KEY", "a file", file).unwrap_or(Setting::default(None)),
        protocol,
    }
}

fn millis(text: &str) -> Option<Duration> {
    text.parse().ok().filter(|millis| *millis > 0).map(Duration::from_millis)
}

fn zipkin_exporter(r: &mut Reader<'_>, target: &Target) -> Exporter {
    let endpoint = match target {
        Target::Zipkin(Some(url)) => Setting { value: zipkin_url(url), from: "--sink".to_owned() },
        _ => r.text("OTEL_EXPORTER_ZIPKIN_ENDPOINT").unwrap_or_else(|| Setting::default(ZIPKIN.to_owned())),
    };
    let timeout = r.parse("OTEL_EXPORTER_ZIPKIN_TIMEOUT", "a number of milliseconds", millis);
    Exporter {
        enabled: Setting { value: true, from: "OTEL_TRACES_EXPORTER".to_owned() },
        protocol: Setting { value: Protocol::Zipkin, from: "zipkin".to_owned() },
        endpoint,
        headers: Setting::default(Vec::new()),
        timeout: timeout.unwrap_or(Setting::default(DEFAULT_TIMEOUT)),
        gzip: Setting::default(false),
        certificate: Setting::default(None),
        client_certificate: Setting::default(None),
        client_key: Setting::default(None),
    }
}

/// Completes a server's address with Zipkin's path for spans.
fn zipkin_url(text: &str) -> String {
    let url = url::address(text, "http").unwrap_or(text.to_owned());
    if url::is_bare(&url) { url::extended(&url, "/api/v2/spans") } else { url }
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

fn sampler(r: &mut Reader<'_>) -> Setting<Sampler> {
    let ratio = r
        .parse("OTEL_TRACES_SAMPLER_ARG", "a number from 0 to 1", |text| {
            text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio))
        })
        .map_or(1.0, |set| set.value);
    let named = r.parse("OTEL_TRACES_SAMPLER", "a known sampler", |text| {
        Some(match text {
            "always_on" => Sampler::Always(true),
            "always_off" => Sampler::Always(false),
            "traceidratio" => Sampler::Ratio(ratio),
            "parentbased_always_on" => Sampler::ParentBased(1.0),
            "parentbased_always_off" => Sampler::ParentBased(0.0),
            "parentbased_traceidratio" => Sampler::ParentBased(ratio),
            _ => return None,
        })
    });
    named.unwrap_or(Setting::default(Sampler::ParentBased(1.0)))
}

fn limits(r: &mut Reader<'_>) -> Limits {
    let known = Limits::default();
    let attributes = r.number("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT").or_else(|| r.number("OTEL_ATTRIBUTE_COUNT_LIMIT"));
    let events = r.number("OTEL_SPAN_EVENT_COUNT_LIMIT");
    let length =
        r.number("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT").or_else(|| r.number("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"));
    Limits {
        attributes: attributes.unwrap_or(known.attributes),
        events: events.unwrap_or(known.events),
        value_length: length.unwrap_or(known.value_length),
    }
}

fn resource(r: &mut Reader<'_>) -> Setting<Vec<(String, String)>> {
    let given = r.parse("OTEL_RESOURCE_ATTRIBUTES", "a list of KEY=VALUE", pairs);
    let mut resource = given.unwrap_or(Setting::default(Vec::new()));
    if let Some(name) = r.text("OTEL_SERVICE_NAME") {
        resource.value.retain(|(key, _)| key != "service.name");
        resource.value.insert(0, ("service.name".to_owned(), name.value));
        let both = resource.value.len() > 1;
        resource.from = if both { format!("{}, {}", name.from, resource.from) } else { name.from };
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtrace_trace::context::Context;

    fn read(target: &Target, variables: &[(&str, &str)]) -> Settings {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
        Settings::read(target, &variable)
    }

    fn from_environment(variables: &[(&str, &str)]) -> Settings {
        read(&Target::Environment, variables)
    }

    const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

    #[test]
    fn an_endpoint_for_all_is_extended_by_the_signal_and_one_for_a_signal_is_not() {
        let settings =
            from_environment(&[(ENDPOINT, "http://h:1/base/"), ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://l/x")]);
        assert_eq!(settings.traces.endpoint.value, "http://h:1/base/v1/traces");
        assert_eq!(settings.metrics.endpoint.value, "http://h:1/base/v1/metrics");
        assert_eq!(settings.logs.endpoint.value, "http://l/x");
        assert_eq!(settings.logs.endpoint.from, "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT");
        assert!(settings.asked.value && settings.traces.enabled.value && settings.logs.enabled.value);
        // What was typed stands above both.
        let typed = Target::Otlp(Some("http://typed:2".to_owned()));
        let settings = read(&typed, &[(ENDPOINT, "http://h:1"), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/x")]);
        assert_eq!(settings.traces.endpoint.value, "http://typed:2/v1/traces");
    }

    #[test]
    fn without_an_endpoint_nothing_is_asked_for_and_the_default_is_this_machine() {
        let settings = from_environment(&[(ENDPOINT, "")]);
        assert!(!settings.asked.value && !settings.traces.enabled.value);
        let settings = read(&Target::Otlp(None), &[]);
        assert_eq!(settings.traces.endpoint.value, "http://localhost:4318/v1/traces");
        assert!(settings.traces.enabled.value && settings.logs.enabled.value);
        // What was meant for another place is not for this machine.
        let settings = from_environment(&[(ENDPOINT, "https:/h"), ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://l/x")]);
        let wrong = Err("OTEL_EXPORTER_OTLP_ENDPOINT is not a URL with http:// or https://".to_owned());
        assert!(settings.asked.value && settings.warnings.is_empty());
        let each = [&settings.traces, &settings.logs, &settings.metrics].map(Exporter::check);
        let each = each.map(|checked| checked.map_err(|e| e.to_string()));
        assert_eq!(each, [wrong.clone(), Ok(()), wrong]);
        let settings = read(&Target::Otlp(None), &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        assert_eq!(settings.traces.endpoint.value, "http://localhost:4317");
        assert!(from_environment(&[("OTEL_TRACES_EXPORTER", "otlp")]).asked.value);
        assert!(!from_environment(&[("OTEL_TRACES_EXPORTER", "none"), (ENDPOINT, "http://h")]).asked.value);
    }

    #[test]
    fn the_protocol_is_what_the_variable_says_or_what_the_port_is_for() {
        let protocol = |variables: &[(&str, &str)]| from_environment(variables).traces.protocol.value;
        assert_eq!(protocol(&[(ENDPOINT, "http://h:4317")]), Protocol::Grpc);
        assert_eq!(protocol(&[(ENDPOINT, "http://h:4318")]), Protocol::Http(Encoding::Proto));
        let named = [(ENDPOINT, "http://h:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")];
        assert_eq!(protocol(&named), Protocol::Http(Encoding::Json));
        // gRPC's endpoints may be without a scheme.
        let bare = |insecure| from_environment(&[(ENDPOINT, "h:4317"), ("OTEL_EXPORTER_OTLP_INSECURE", insecure)]);
        assert_eq!(bare("true").traces.endpoint.value, "http://h:4317");
        assert_eq!(bare("false").traces.endpoint.value, "https://h:4317");
    }

    #[test]
    fn values_are_decoded_and_those_that_cannot_be_read_are_warned_of() {
        let settings = from_environment(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=b%2Cc, x-key = d=e "),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1500"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli"),
            ("OTEL_TRACES_EXPORTER", "jaeger"),
            ("OTEL_SPAN_EVENT_COUNT_LIMIT", "7"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,k=%zz"),
            ("OTEL_SERVICE_NAME", "b"),
        ]);
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(settings.traces.headers.value, [pair("a", "b,c"), pair("x-key", "d=e")]);
        assert_eq!(settings.traces.timeout.value, Duration::from_millis(1_500));
        assert_eq!(settings.logs.timeout.value, Duration::from_secs(10));
        assert_eq!((settings.limits.events, settings.limits.attributes), (7, 128));
        assert_eq!(settings.resource.value, [pair("service.name", "b"), pair("k", "%zz")]);
        let invalid = |variable: &str, expected: &str| SettingWarning::Invalid {
            variable: variable.to_owned(),
            expected: expected.to_owned(),
        };
        let unknown = SettingWarning::UnknownExporter {
            variable: "OTEL_TRACES_EXPORTER".to_owned(),
            exporter: "jaeger".to_owned(),
        };
        let compression = invalid("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip or none");
        let timeout = invalid("OTEL_EXPORTER_OTLP_TIMEOUT", "a number of milliseconds");
        assert!([unknown, compression, timeout].iter().all(|warning| settings.warnings.contains(warning)));
        assert_eq!(settings.warnings.len(), 3, "{:?}", settings.warnings);
        // A header's value may be a secret.
        let secret = from_environment(&[("OTEL_EXPORTER_OTLP_HEADERS", "hush")]);
        assert_eq!(secret.warnings, [invalid("OTEL_EXPORTER_OTLP_HEADERS", "a list of KEY=VALUE")]);
    }

    #[test]
    fn a_sampler_follows_the_host_or_the_traces_id() {
        let context = |trace: u128, parent, flags| Context { trace, run: 1, parent, flags, state: String::new() };
        let (high, low) = (context((1 << 56) - 1, None, 1), context(1 << 100, None, 1));
        assert!(
            Sampler::Ratio(0.001).wants(&high) && !Sampler::Ratio(0.999).wants(&low) && Sampler::Ratio(1.0).wants(&low)
        );
        assert!(!Sampler::Ratio(0.0).wants(&high));
        let (asked, spared) = (context(1, Some(2), 1), context((1 << 56) - 1, Some(2), 0));
        assert!(Sampler::ParentBased(0.0).wants(&asked) && !Sampler::ParentBased(1.0).wants(&spared));
        assert!(Sampler::Always(true).wants(&spared) && !Sampler::Always(false).wants(&asked));
    }
}
