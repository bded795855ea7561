//! Sending requests to one endpoint, one after the other, with retries.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::grpc::Grpc;
use super::http::Http;
use super::options::ExportOptions;
use super::response::{Retry, Said, Trouble};
use super::settings::{Exporter, Protocol};
use wasmtrace_trace::export::Signal;

enum Transport {
    Http(Http),
    Grpc(Grpc),
}

pub(super) struct Sender {
    transport: Transport,
    /// The signal of the requests. Zipkin's responses are empty.
    signal: Signal,
    zipkin: bool,
    timeout: Duration,
    pub(super) deadline: Option<Instant>,
    /// Whether the endpoint has ever responded.
    answers: bool,
    /// The sink's messages about accepted requests.
    pub(super) said: Said,
    /// Receives one message when the sender has to wait.
    waits: Option<mpsc::Sender<String>>,
}

/// The requests of one signal. A failure does not affect other signals.
pub(super) struct SignalSender<'w> {
    exporter: &'w Exporter,
    signal: Signal,
    options: &'w ExportOptions<'w>,
    /// Created by the first request.
    sender: Option<Sender>,
    /// Number of items in accepted requests.
    items: u64,
    /// The error after which no more requests are sent.
    failed: Option<String>,
}

impl<'w> SignalSender<'w> {
    pub(super) fn new(exporter: &'w Exporter, signal: Signal, options: &'w ExportOptions<'w>) -> Self {
        SignalSender { exporter, signal, options, sender: None, items: 0, failed: None }
    }

    /// Sends a request with that many items, unless an earlier one has failed.
    pub(super) fn send(&mut self, body: &[u8], items: usize) {
        if self.failed.is_some() {
            return;
        }
        let sender = match &mut self.sender {
            Some(sender) => Ok(sender),
            none => Sender::new(self.exporter, self.signal, self.options.deadline)
                .map(|sender| none.insert(Sender { waits: self.options.waits.clone(), ..sender })),
        };
        match sender.and_then(|sender| sender.send(body)) {
            Ok(()) => self.items += items as u64,
            Err(e) => self.failed = Some(e),
        }
    }

    pub(super) fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// The sink's messages about accepted requests.
    pub(super) fn said(&self) -> Said {
        self.sender.as_ref().map(|sender| sender.said.clone()).unwrap_or_default()
    }

    /// Number of items that were accepted and not rejected.
    pub(super) fn taken(&self) -> u64 {
        self.items.saturating_sub(self.said().rejected())
    }
}

/// The first pause between two tries. Each pause is twice as long as the previous one, up to a maximum.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Pauses from this length on are reported to the user.
const LONG_PAUSE: Duration = Duration::from_secs(1);

/// Number of tries if the endpoint never responds.
const TRIES_UNANSWERED: u32 = 4;

impl Sender {
    pub(super) fn new(exporter: &Exporter, signal: Signal, deadline: Option<Instant>) -> Result<Sender, String> {
        exporter.check().map_err(|e| e.to_string())?;
        let transport = match exporter.protocol.value {
            Protocol::Grpc => Transport::Grpc(Grpc::new(exporter)?),
            Protocol::Http(_) | Protocol::Zipkin => Transport::Http(Http::new(exporter)?),
        };
        let zipkin = exporter.protocol.value == Protocol::Zipkin;
        let timeout = exporter.timeout.value;
        Ok(Sender { transport, signal, zipkin, timeout, deadline, answers: false, said: Said::default(), waits: None })
    }

    fn left(&self) -> Duration {
        self.deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Sends a request, with retries.
    ///
    /// # Errors
    /// The message of the last failure.
    pub(super) fn send(&mut self, body: &[u8]) -> Result<(), String> {
        let mut pause = PAUSE;
        for tries in 1.. {
            let timeout = self.timeout.min(self.left());
            if timeout.is_zero() {
                return Err("the time limit was reached".to_owned());
            }
            let Trouble { again, message } = match self.once(body, timeout) {
                Ok(said) => {
                    self.answers = true;
                    self.said.add(said);
                    return Ok(());
                }
                Err(trouble) => trouble,
            };
            let wait = match again {
                Retry::Never => return Err(message),
                Retry::Unanswered if !self.answers && tries >= TRIES_UNANSWERED => return Err(message),
                Retry::Later(Some(after)) => after,
                Retry::Unanswered | Retry::Later(None) => pause + jitter(pause),
            };
            self.answers |= matches!(again, Retry::Later(_));
            if wait >= self.left() {
                let asked = matches!(again, Retry::Later(Some(_)));
                return Err(if asked { format!("{message}; it asks to wait {wait:.1?}") } else { message });
            }
            if wait >= LONG_PAUSE
                && let Some(waits) = self.waits.take()
            {
                let most = match self.deadline {
                    Some(_) => format!("for at most {:.0?}", self.left()),
                    None => "without a time limit".to_owned(),
                };
                // The receiver may be gone.
                let _ = waits.send(format!("{message}; retrying in {wait:.0?}, {most}"));
            }
            std::thread::sleep(wait);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        unreachable!("the tries are without end")
    }

    fn once(&mut self, body: &[u8], timeout: Duration) -> Result<Said, Trouble> {
        match &mut self.transport {
            Transport::Http(http) => http.send((!self.zipkin).then_some(self.signal), body, timeout),
            Transport::Grpc(grpc) => grpc.send(self.signal, body, timeout),
        }
    }
}

/// A random time up to half of the pause, so that clients rejected together do not return together.
fn jitter(pause: Duration) -> Duration {
    let mut random = [0; 1];
    // Without random numbers there is no jitter.
    let _ = getrandom::fill(&mut random);
    pause / 2 * random[0].into() / 256
}
