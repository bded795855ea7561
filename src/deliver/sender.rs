//! Requests to one endpoint, one after the other, each until it is taken or there is no sense in trying again.

use std::time::{Duration, Instant};

use super::answer::{Again, Trouble};
use super::grpc::Grpc;
use super::http::Http;
use super::settings::{Exporter, Protocol};
use crate::export::Signal;

enum Transport {
    Http(Http),
    Grpc(Grpc),
}

pub(super) struct Sender {
    transport: Transport,
    /// What requests carry; Zipkin's have answers without contents.
    signal: Signal,
    zipkin: bool,
    timeout: Duration,
    pub(super) deadline: Option<Instant>,
    /// There was an answer.
    answers: bool,
    /// What the sink said of requests that it took, each once.
    pub(super) said: Vec<String>,
}

/// The first pause between two tries; each is twice as long as the one before, up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where there never was an answer, so many tries are made in all.
const TRIES_UNANSWERED: u32 = 4;

impl Sender {
    pub(super) fn new(exporter: &Exporter, signal: Signal, deadline: Option<Instant>) -> Result<Sender, String> {
        let transport = match exporter.protocol.value {
            Protocol::Grpc => Transport::Grpc(Grpc::new(exporter)?),
            Protocol::Http(_) | Protocol::Zipkin => Transport::Http(Http::new(exporter)?),
        };
        let zipkin = exporter.protocol.value == Protocol::Zipkin;
        let timeout = exporter.timeout.value;
        Ok(Sender { transport, signal, zipkin, timeout, deadline, answers: false, said: Vec::new() })
    }

    fn left(&self) -> Duration {
        self.deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// Why it was not taken, the last time.
    pub(super) fn send(&mut self, body: &[u8]) -> Result<(), String> {
        let mut pause = PAUSE;
        for tries in 1.. {
            let timeout = self.timeout.min(self.left());
            if timeout.is_zero() {
                return Err("there was no time left".to_owned());
            }
            let Trouble { again, message } = match self.once(body, timeout) {
                Ok(said) => {
                    self.answers = true;
                    self.said.extend(said.filter(|said| !self.said.contains(said)));
                    return Ok(());
                }
                Err(trouble) => trouble,
            };
            let wait = match again {
                Again::Never => return Err(message),
                Again::Unanswered if !self.answers && tries >= TRIES_UNANSWERED => return Err(message),
                Again::Later(Some(after)) => after,
                Again::Unanswered | Again::Later(None) => pause + jitter(pause),
            };
            self.answers |= matches!(again, Again::Later(_));
            if wait >= self.left() {
                let asked = matches!(again, Again::Later(Some(_)));
                return Err(if asked { format!("{message}, and asks to wait {wait:.1?}") } else { message });
            }
            std::thread::sleep(wait);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        unreachable!("the tries are without end")
    }

    fn once(&mut self, body: &[u8], timeout: Duration) -> Result<Option<String>, Trouble> {
        match &mut self.transport {
            Transport::Http(http) => http.send((!self.zipkin).then_some(self.signal), body, timeout),
            Transport::Grpc(grpc) => grpc.send(self.signal, body, timeout),
        }
    }
}

/// Up to a half of it, so that many who were refused together do not come back together.
fn jitter(pause: Duration) -> Duration {
    let mut random = [0; 1];
    // Without it nothing is wrong.
    let _ = getrandom::fill(&mut random);
    pause / 2 * random[0].into() / 256
}
