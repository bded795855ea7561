//! Zipkin's spans, version 2, as JSON (<https://zipkin.io/zipkin-api/>): times in microseconds, no duration of 0, attributes
//! as tags of text, events as annotations.

use serde_json::{Map, Value as Json, json};

use super::RunInfo;
use super::json::json_line;
use super::spans::{self, Attribute, ExportSpan, Limits, Value};

/// A Zipkin request under construction: a list of spans.
#[derive(Debug)]
pub struct ZipkinRequest {
    spans: Vec<String>,
    bytes: usize,
    limits: Limits,
}

impl ZipkinRequest {
    pub fn new(limits: Limits) -> Self {
        ZipkinRequest { spans: Vec::new(), bytes: 0, limits }
    }

    pub fn span(&mut self, run_info: &RunInfo, span: &ExportSpan<'_>) {
        let (name, mut list) = spans::about(run_info, span.what);
        list.extend(span.tags.iter().map(|(key, value)| (key.clone().into(), value.as_str().into())));
        list.extend(span.more.iter().cloned());
        let mut tags: Map<String, Json> =
            list.iter().take(self.limits.attributes).map(|(key, value)| (key.to_string(), self.text(value))).collect();
        let resource = spans::resource(run_info);
        let service = resource.iter().find(|(key, _)| key == "service.name").map(|(_, value)| self.text(value));
        // Zipkin has no resource, so the run's own span carries its attributes.
        if span.parent_is_remote {
            tags.extend(resource.iter().map(|(key, value)| (key.to_string(), self.text(value))));
        }
        if let Some(failure) = &span.failure {
            tags.insert("error".to_owned(), failure.as_ref().into());
        }
        let micros = |nanos: u64| nanos / 1_000;
        let mut encoded = json!({
            "traceId": format!("{:032x}", span.context.trace),
            "id": format!("{:016x}", span.id),
            "name": name,
            "timestamp": micros(span.start),
            "duration": (micros(span.end) - micros(span.start)).max(1),
            "localEndpoint": { "serviceName": service },
            "tags": tags,
        });
        if let Some(parent) = span.parent {
            encoded["parentId"] = format!("{parent:016x}").into();
        }
        if !span.events.is_empty() {
            encoded["annotations"] = span
                .events
                .iter()
                .map(|event| json!({ "timestamp": micros(event.at), "value": self.annotation(event.name, &event.attributes) }))
                .collect();
        }
        let encoded = json_line(&encoded);
        self.bytes += encoded.len();
        self.spans.push(encoded);
    }

    fn annotation(&self, name: &str, attributes: &[Attribute]) -> String {
        let mut text = name.to_owned();
        for (key, value) in attributes {
            text += &format!(" {key}={}", self.text(value).as_str().unwrap_or_default());
        }
        text
    }

    fn text(&self, value: &Value) -> Json {
        match value {
            Value::Text(text) => text.chars().take(self.limits.value_length).collect::<String>().into(),
            Value::Number(number) => number.to_string().into(),
        }
    }

    /// Number of spans in the request, and its approximate size in bytes.
    pub fn size(&self) -> (usize, usize) {
        (self.spans.len(), self.bytes)
    }

    /// Returns the complete request and leaves an empty one.
    pub fn take(&mut self) -> Vec<u8> {
        let whole = format!("[{}]", self.spans.join(","));
        self.spans.clear();
        self.bytes = 0;
        whole.into_bytes()
    }
}
