//! A collector for tests. It accepts OTLP over HTTP and gRPC, and Zipkin's JSON, on a local port, and decodes it with
//! third-party crates. A test can make it misbehave.
#![allow(unreachable_pub, dead_code, reason = "a module of several test binaries, each of which uses a part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1 as logs;
use opentelemetry_proto::tonic::collector::metrics::v1 as metrics;
use opentelemetry_proto::tonic::collector::trace::v1 as trace;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as AnyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
pub use tonic;
use tonic::{Request, Response, Status};

/// The requests that a collector has received.
#[derive(Debug, Default, Clone)]
pub struct Received {
    pub traces: Vec<trace::ExportTraceServiceRequest>,
    pub logs: Vec<logs::ExportLogsServiceRequest>,
    pub metrics: Vec<metrics::ExportMetricsServiceRequest>,
    pub zipkin: Vec<serde_json::Value>,
    /// The headers of each request, accepted or not. Names are in lower case.
    pub heads: Vec<Vec<(String, String)>>,
}

/// The response to a request.
#[derive(Debug, Clone)]
pub enum Answer {
    Take,
    /// Accepts the request except for this number of items, with a reason (`partial_success`).
    Reject(usize, &'static str),
    /// An HTTP status, headers and a body. Over gRPC, the number is the status code.
    Refuse(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Bytes that are not a valid response.
    Garbage(Vec<u8>),
    /// No response, ever.
    Stall,
    /// Closes the connection without a response.
    Die,
}

/// Chooses the response to the request with that number, counted from 0.
pub type Behaviour = Arc<dyn Fn(usize) -> Answer + Send + Sync>;

pub fn takes_all() -> Behaviour {
    Arc::new(|_| Answer::Take)
}

/// A collector that runs as long as the test does.
pub struct Collector {
    /// The URL of the collector, without a path.
    pub url: String,
    received: Arc<Mutex<Received>>,
}

impl Collector {
    pub fn http(behaviour: Behaviour) -> Collector {
        Collector::http_with(behaviour, None)
    }

    /// Starts a collector for HTTP; with a certificate, over TLS.
    pub fn http_with(behaviour: Behaviour, tls: Option<Arc<rustls::ServerConfig>>) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = if tls.is_some() { "https://localhost" } else { "http://127.0.0.1" };
        let url = format!("{host}:{}", listener.local_addr().unwrap().port());
        let received = Arc::new(Mutex::new(Received::default()));
        let (all, count) = (received.clone(), Arc::new(Mutex::new(0)));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (all, behaviour, count, tls) = (all.clone(), behaviour.clone(), count.clone(), tls.clone());
                std::thread::spawn(move || {
                    let stream = stream.unwrap();
                    match tls {
                        Some(tls) => {
                            let connection = rustls::ServerConnection::new(tls).unwrap();
                            serve(rustls::StreamOwned::new(connection, stream), &all, &behaviour, &count);
                        }
                        None => serve(stream, &all, &behaviour, &count),
                    }
                });
            }
        });
        Collector { url, received }
    }

    pub fn grpc(behaviour: Behaviour) -> Collector {
        Collector::grpc_with(behaviour, None)
    }

    pub fn grpc_with(behaviour: Behaviour, tls: Option<tonic::transport::ServerTlsConfig>) -> Collector {
        let received = Arc::new(Mutex::new(Received::default()));
        let services = Services { received: received.clone(), behaviour, count: Arc::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (listening, url) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            runtime.block_on(async {
                let incoming = tonic::transport::server::TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
                let mut server = tonic::transport::Server::builder();
                let host = if tls.is_some() { "https://localhost" } else { "http://127.0.0.1" };
                if let Some(tls) = tls {
                    server = server.tls_config(tls).unwrap();
                }
                listening.send(format!("{host}:{}", incoming.local_addr().unwrap().port())).unwrap();
                let gzip = tonic::codec::CompressionEncoding::Gzip;
                server
                    .add_service(
                        trace::trace_service_server::TraceServiceServer::new(services.clone()).accept_compressed(gzip),
                    )
                    .add_service(logs::logs_service_server::LogsServiceServer::new(services.clone()))
                    .add_service(metrics::metrics_service_server::MetricsServiceServer::new(services))
                    .serve_with_incoming(incoming)
                    .await
                    .unwrap();
            });
        });
        Collector { url: url.recv().unwrap(), received }
    }

    pub fn received(&self) -> Received {
        self.received.lock().unwrap().clone()
    }

    /// All spans received, each once. A span that is sent again must be the same.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for span in self.received().spans() {
            match spans.iter().find(|known| known.span_id == span.span_id) {
                Some(known) => assert_eq!(known, &span, "a span that was sent again is another"),
                None => spans.push(span),
            }
        }
        spans
    }
}

impl Received {
    pub fn spans(&self) -> Vec<Span> {
        let resources = self.traces.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The resource of the spans. It must be the same in all requests.
    pub fn resource(&self) -> Resource {
        let resources: Vec<_> = self.traces.iter().flat_map(|request| &request.resource_spans).collect();
        assert!(resources.iter().all(|r| r.resource == resources[0].resource));
        resources[0].resource.clone().unwrap()
    }
}

pub fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a AnyValue> {
    attributes.iter().find(|a| a.key == key)?.value.as_ref()?.value.as_ref()
}

pub fn text(attributes: &[KeyValue], key: &str) -> String {
    match attribute(attributes, key) {
        Some(AnyValue::StringValue(text)) => text.clone(),
        other => panic!("{key}: {other:?} is no text"),
    }
}

pub fn number(attributes: &[KeyValue], key: &str) -> i64 {
    match attribute(attributes, key) {
        Some(AnyValue::IntValue(number)) => *number,
        other => panic!("{key}: {other:?} is no number"),
    }
}

/// Requests of one connection, until it is closed.
fn serve(stream: impl Read + Write, all: &Mutex<Received>, behaviour: &Behaviour, count: &Mutex<usize>) {
    let mut reader = BufReader::new(stream);
    while let Some((path, head, body)) = request(&mut reader) {
        let stream = reader.get_mut();
        let number = {
            let mut count = count.lock().unwrap();
            *count += 1;
            *count - 1
        };
        all.lock().unwrap().heads.push([(":path".to_owned(), path.clone())].into_iter().chain(head.clone()).collect());
        let answer = match behaviour(number) {
            Answer::Take => take(&path, &head, &body, all, None),
            Answer::Reject(count, reason) => take(&path, &head, &body, all, Some((count, reason))),
            Answer::Refuse(status, headers, body) => {
                let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                let head = format!("HTTP/1.1 {status} No\r\n{headers}content-length: {}\r\n\r\n", body.len());
                [head.as_bytes(), &body].concat()
            }
            Answer::Garbage(bytes) => {
                let _ = stream.write_all(&bytes);
                return;
            }
            Answer::Stall => {
                std::thread::sleep(Duration::from_secs(3_600));
                return;
            }
            Answer::Die => return,
        };
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

type Head = Vec<(String, String)>;

fn request(reader: &mut impl BufRead) -> Option<(String, Head, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    assert!(line.starts_with("POST "), "{line}");
    let mut head = Head::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => head.push((name.to_ascii_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let length = of(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, head, body))
}

fn of<'h>(head: &'h Head, name: &str) -> Option<&'h str> {
    head.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn take(
    path: &str,
    head: &Head,
    body: &[u8],
    all: &Mutex<Received>,
    rejected: Option<(usize, &'static str)>,
) -> Vec<u8> {
    let mut unpacked = Vec::new();
    let body = match of(head, "content-encoding") {
        Some("gzip") => {
            flate2::read::GzDecoder::new(body).read_to_end(&mut unpacked).unwrap();
            &unpacked
        }
        None => body,
        other => panic!("{other:?}"),
    };
    fn decoded<M: Message + Default + serde::de::DeserializeOwned>(kind: &str, body: &[u8]) -> M {
        match kind {
            "application/x-protobuf" => M::decode(body).expect("protobuf"),
            "application/json" => serde_json::from_slice(body).expect("JSON"),
            other => panic!("{other}"),
        }
    }
    let kind = of(head, "content-type").unwrap();
    let mut all = all.lock().unwrap();
    let path = path.split('?').next().unwrap();
    match path {
        "/v1/traces" => all.traces.push(decoded(kind, body)),
        "/v1/logs" => all.logs.push(decoded(kind, body)),
        "/v1/metrics" => all.metrics.push(decoded(kind, body)),
        "/api/v2/spans" => {
            let spans: serde_json::Value = serde_json::from_slice(body).unwrap();
            all.zipkin.extend(spans.as_array().unwrap().iter().cloned());
            return b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_vec();
        }
        other => panic!("there is nothing at {other}"),
    }
    let answer = rejected.filter(|_| path == "/v1/traces").map(|(count, reason)| partial(count, reason));
    let answer = answer.unwrap_or_default();
    let body = if kind == "application/json" { serde_json::to_vec(&answer).unwrap() } else { answer.encode_to_vec() };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), &body].concat()
}

/// An answer of a collector that rejected some.
fn partial(count: usize, reason: &str) -> trace::ExportTraceServiceResponse {
    let rejected = trace::ExportTracePartialSuccess { rejected_spans: count as i64, error_message: reason.to_owned() };
    trace::ExportTraceServiceResponse { partial_success: Some(rejected) }
}

#[derive(Clone)]
struct Services {
    received: Arc<Mutex<Received>>,
    behaviour: Behaviour,
    count: Arc<Mutex<usize>>,
}

impl Services {
    async fn take<M: Default, A: Message + Default>(
        &self,
        request: Request<M>,
        keep: impl FnOnce(&mut Received, M),
    ) -> Result<Response<A>, Status> {
        let number = {
            let mut count = self.count.lock().unwrap();
            *count += 1;
            *count - 1
        };
        let pairs = request.metadata().clone().into_headers();
        let head = pairs.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        self.received.lock().unwrap().heads.push(head);
        match (self.behaviour)(number) {
            Answer::Take => {
                keep(&mut self.received.lock().unwrap(), request.into_inner());
                Ok(Response::new(A::default()))
            }
            Answer::Reject(count, reason) => {
                keep(&mut self.received.lock().unwrap(), request.into_inner());
                // The same message for each signal.
                Ok(Response::new(A::decode(&partial(count, reason).encode_to_vec()[..]).unwrap()))
            }
            Answer::Refuse(code, _, details) => {
                let code = tonic::Code::from_i32(code.into());
                Err(Status::with_details(code, "not now", details.into()))
            }
            Answer::Stall => {
                std::future::pending::<()>().await;
                unreachable!()
            }
            other => panic!("{other:?} is not for gRPC"),
        }
    }
}

#[tonic::async_trait]
impl trace::trace_service_server::TraceService for Services {
    async fn export(
        &self,
        request: Request<trace::ExportTraceServiceRequest>,
    ) -> Result<Response<trace::ExportTraceServiceResponse>, Status> {
        self.take(request, |all, request| all.traces.push(request)).await
    }
}

#[tonic::async_trait]
impl logs::logs_service_server::LogsService for Services {
    async fn export(
        &self,
        request: Request<logs::ExportLogsServiceRequest>,
    ) -> Result<Response<logs::ExportLogsServiceResponse>, Status> {
        self.take(request, |all, request| all.logs.push(request)).await
    }
}

#[tonic::async_trait]
impl metrics::metrics_service_server::MetricsService for Services {
    async fn export(
        &self,
        request: Request<metrics::ExportMetricsServiceRequest>,
    ) -> Result<Response<metrics::ExportMetricsServiceResponse>, Status> {
        self.take(request, |all, request| all.metrics.push(request)).await
    }
}
