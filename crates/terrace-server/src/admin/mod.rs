//! The admin port: a small HTTP server of its own for probes, metrics and a page for people.
//!
//! | path | answer |
//! |---|---|
//! | `/livez` | 200 as long as the process answers |
//! | `/readyz` | 200 when clients are served; 503 and the reason while the log is replayed, while the store refuses writes, and during the shutdown |
//! | `/metrics` | the counters in Prometheus's text format |
//! | `/stats` | the same JSON as the command `STATS` |
//! | `/` | a page that draws the levels of the store as they change |
//!
//! It is bound before the store is opened, because readiness is the question of exactly that time. It runs on
//! threads of its own and only reads counters, so a busy event loop does not delay a probe. It has neither
//! passwords nor encryption: it belongs on an address that only the operators reach.

mod health;
mod http;
mod prometheus;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use terrace::RecoveryProgress;

use self::health::Phase;
use self::http::{Request, Response};
use crate::Server;
use crate::commands::stats;
use crate::shared::Shared;

/// A client that has not sent its request by then, or does not take the answer, is dropped.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Requests answered at once; further connections are closed unanswered.
const MAX_REQUESTS: usize = 16;
/// How long to leave a listener alone that cannot accept (out of descriptors, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const PAGE: &str = include_str!("page.html");

/// The admin port of one server. Dropping it closes the port.
pub struct AdminServer {
    state: Arc<State>,
    local_addr: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

struct State {
    phase: Mutex<Phase>,
    closing: AtomicBool,
    requests: AtomicUsize,
}

impl AdminServer {
    /// Binds the port (0 picks a free one) and answers from now on: alive, not ready.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let local_addr = listener.local_addr()?;
        let state = Arc::new(State {
            phase: Mutex::new(Phase::Opening(RecoveryProgress::default())),
            closing: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("terrace-admin".into())
            .spawn(move || accepting.run(&listener))?;
        Ok(Self { state, local_addr, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// What to tell of recovery while the store is being opened; for [`terrace::Options::on_recovery`].
    pub fn recovery_observer(&self) -> impl Fn(RecoveryProgress) + Send + Sync + 'static {
        let state = Arc::clone(&self.state);
        move |progress| {
            let mut phase = state.phase.lock();
            if matches!(*phase, Phase::Opening(_)) {
                *phase = Phase::Opening(progress);
            }
        }
    }

    /// From now on answers for `server`, which is about to run.
    pub fn attach(&self, server: &Server) {
        *self.state.phase.lock() = Phase::Serving(Arc::clone(server.shared()));
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.state.closing.store(true, Ordering::Release);
        // The thread waits in `accept`: one more connection is what it takes to make it look.
        let woken = TcpStream::connect_timeout(&self.local_addr, TIMEOUT).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join(); // It does not panic, and there is nothing left to do if it did.
        }
    }
}

impl State {
    fn run(self: Arc<Self>, listener: &TcpListener) {
        loop {
            let accepted = listener.accept();
            if self.closing.load(Ordering::Acquire) {
                return;
            }
            match accepted {
                Ok((stream, _)) => self.start(stream),
                Err(error) => {
                    tracing::warn!(%error, "the admin port cannot accept a connection");
                    std::thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    /// Answers on a thread of its own, so that a client that sends nothing keeps nobody else waiting.
    fn start(self: &Arc<Self>, stream: TcpStream) {
        let reserve = |count| (count < MAX_REQUESTS).then_some(count + 1);
        if self.requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve).is_err() {
            return;
        }
        let state = Arc::clone(self);
        let body = move || {
            if let Err(error) = state.converse(&stream) {
                tracing::debug!(%error, "an admin request came to nothing");
            }
            state.requests.fetch_sub(1, Ordering::Relaxed);
        };
        if std::thread::Builder::new().name("terrace-http".into()).spawn(body).is_err() {
            self.requests.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn converse(&self, mut stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let request = http::read(&mut stream)?;
        let response = match &request {
            Ok(request) => self.answer(request),
            Err(refused) => refused.clone(),
        };
        let head_only = request.is_ok_and(|request| request.is_head);
        http::write(&mut stream, &response, head_only)
    }

    fn answer(&self, request: &Request) -> Response {
        let phase = self.phase.lock().clone();
        let for_server = |answer: fn(&Shared) -> Response| match &phase {
            Phase::Opening(_) => phase.readiness(),
            Phase::Serving(shared) => answer(shared),
        };
        match request.path.as_str() {
            "/livez" => Response::text(200, "alive\n"),
            "/readyz" => phase.readiness(),
            "/metrics" => {
                for_server(|shared| Response::new(200, prometheus::CONTENT_TYPE, prometheus::render(shared)))
            }
            "/stats" => {
                for_server(|shared| Response::new(200, "application/json", stats::report(shared).to_string()))
            }
            "/" => Response::new(200, "text/html; charset=utf-8", PAGE),
            _ => Response::text(404, "not found; there are /livez, /readyz, /metrics, /stats and /\n"),
        }
    }
}
