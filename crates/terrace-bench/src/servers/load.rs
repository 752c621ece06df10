//! The load generator: threads with an event loop each, over their share of the connections.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};

use super::case::{ServerCase, Verb};
use super::connection::Connection;
use super::pace::Pace;
use super::request::Template;
use crate::keys::mix;
use crate::latency;
use crate::zipf::Chooser;

/// One in so many written keys is looked up afterwards, at most [`SAMPLES`] of a thread.
const SAMPLE_EVERY: u64 = 997;
const SAMPLES: usize = 500;
/// How long replies may take after the end of the run.
const DRAIN: Duration = Duration::from_secs(20);
/// Requests of an open loop that may wait on one connection; a server further behind cannot hold the rate.
const MAX_WAITING: usize = 4096;

/// What a load did.
pub(super) struct Done {
    /// Requests that were answered.
    pub(super) requests: u64,
    /// From the first request to the last reply.
    pub(super) seconds: f64,
    /// Latency of every request.
    pub(super) latencies: Histogram<u64>,
    /// Keys that were written, to be looked up.
    pub(super) samples: Vec<u64>,
}

/// How the numbers of keys follow each other.
#[derive(Clone, Copy)]
pub(super) enum Order {
    /// At random, until the time is over.
    Random(Chooser),
    /// Every key once, each thread its own part.
    Each,
}

/// Drives the server at `address` with requests of `template`.
pub(super) fn load(
    address: SocketAddr,
    case: &ServerCase,
    template: &Template,
    order: Order,
) -> Result<Done> {
    let started = Instant::now();
    let one = |index: usize| Client::connect(address, case, template, order, index)?.run();
    let clients: Vec<Result<Client<'_>>> = thread::scope(|scope| {
        let spawned: Vec<_> = (0..case.threads).map(|index| scope.spawn(move || one(index))).collect();
        spawned.into_iter().map(|t| t.join().ok().context("a thread panicked").and_then(|r| r)).collect()
    });
    let mut done = Done { requests: 0, seconds: 0.0, latencies: latency::empty(), samples: Vec::new() };
    let mut last = started;
    for client in clients {
        let client = client?;
        done.requests += client.latencies.len();
        done.latencies.add(&client.latencies).context("adding histograms of the same bounds")?;
        done.samples.extend(client.samples);
        last = last.max(client.last);
    }
    done.seconds = last.duration_since(started).as_secs_f64().max(1e-9);
    Ok(done)
}

/// One thread of the load generator.
struct Client<'a> {
    case: &'a ServerCase,
    template: &'a Template,
    numbers: Numbers,
    poll: Poll,
    connections: Vec<Connection>,
    pace: Option<Pace>,
    deadline: Instant,
    latencies: Histogram<u64>,
    samples: Vec<u64>,
    written: u64,
    last: Instant,
}

/// The keys that come next.
struct Numbers {
    order: Order,
    random: u64,
    /// The rest of this thread's part, for [`Order::Each`].
    rest: std::ops::Range<u64>,
}

impl Numbers {
    fn next(&mut self) -> u64 {
        match self.order {
            Order::Random(chooser) => {
                self.random = mix(self.random);
                chooser.choose(self.random)
            }
            // A request that takes several keys may go over the end; the last key once more does no harm.
            Order::Each => self.rest.next().unwrap_or(self.rest.end - 1),
        }
    }

    fn over(&self) -> bool {
        matches!(self.order, Order::Each) && self.rest.is_empty()
    }
}

impl<'a> Client<'a> {
    fn connect(
        address: SocketAddr,
        case: &'a ServerCase,
        template: &'a Template,
        order: Order,
        index: usize,
    ) -> Result<Self> {
        let poll = Poll::new()?;
        let part = |total: u64, index: usize| total * index as u64 / case.threads as u64;
        let count = part(case.connections as u64, index + 1) - part(case.connections as u64, index);
        let open = |token| Connection::open(address, poll.registry(), Token(token));
        let connections = (0..count as usize).map(open).collect::<Result<Vec<_>>>()?;
        let pace = case.rate.map(|rate| Pace::new(rate / case.threads as f64)).transpose()?;
        if let Some(pace) = &pace {
            pace.register(poll.registry(), Token(connections.len()))?;
        }
        let rest = part(case.keys, index)..part(case.keys, index + 1);
        let now = Instant::now();
        Ok(Self {
            case,
            template,
            numbers: Numbers { order, random: mix(case.seed ^ ((index as u64) << 32)), rest },
            poll,
            connections,
            pace,
            deadline: now + Duration::from_secs_f64(case.seconds),
            latencies: latency::empty(),
            samples: Vec::new(),
            written: 0,
            last: now,
        })
    }

    fn run(mut self) -> Result<Self> {
        let mut events = Events::with_capacity(1024);
        if self.pace.is_none() {
            (0..self.connections.len()).try_for_each(|at| self.refill(at))?;
        }
        loop {
            self.send_due()?;
            if self.ended() && self.connections.iter().all(|connection| connection.waiting.is_empty()) {
                return Ok(self);
            }
            if Instant::now() > self.deadline.max(self.last) + DRAIN {
                bail!("{} s without a reply", DRAIN.as_secs());
            }
            unless_interrupted(self.poll.poll(&mut events, Some(Duration::from_millis(100))))?;
            for event in &events {
                let at = event.token().0;
                if at < self.connections.len() {
                    self.serve(at)?;
                }
            }
        }
    }

    fn ended(&self) -> bool {
        match self.numbers.order {
            Order::Random(_) => Instant::now() >= self.deadline,
            Order::Each => self.numbers.over(),
        }
    }

    /// Takes replies; in a closed loop, sends the next requests when all of the last ones are answered.
    fn serve(&mut self, at: usize) -> Result<()> {
        let connection = &mut self.connections[at];
        connection.flush()?;
        let now = Instant::now();
        let (latencies, last) = (&mut self.latencies, &mut self.last);
        connection.receive(|sent| {
            latencies.saturating_record(now.duration_since(sent).as_nanos() as u64);
            *last = now;
        })?;
        if self.pace.is_none() && connection.waiting.is_empty() && !self.ended() {
            self.refill(at)?;
        }
        Ok(())
    }

    /// Sends a pipeline of requests.
    fn refill(&mut self, at: usize) -> Result<()> {
        let now = Instant::now();
        for _ in 0..self.case.depth {
            if self.numbers.over() {
                break;
            }
            self.append(at, now);
        }
        self.connections[at].flush()
    }

    /// Sends the requests of an open loop whose time has come.
    fn send_due(&mut self) -> Result<()> {
        let Some(mut pace) = self.pace.take() else { return Ok(()) };
        while let Some((due, number)) = pace.take(Instant::now().min(self.deadline)) {
            let at = number as usize % self.connections.len();
            if self.connections[at].waiting.len() >= MAX_WAITING {
                bail!("the server is {MAX_WAITING} requests behind on a connection; lower the rate");
            }
            self.append(at, due);
            self.connections[at].flush()?;
        }
        pace.arm()?;
        self.pace = Some(pace);
        Ok(())
    }

    fn append(&mut self, at: usize, sent: Instant) {
        let connection = &mut self.connections[at];
        let number = self.template.write(&mut connection.out, || self.numbers.next());
        connection.waiting.push_back(sent);
        self.written += 1;
        if self.written % SAMPLE_EVERY == 1 && self.samples.len() < SAMPLES && self.case.verb != Verb::Incr {
            self.samples.push(number);
        }
    }
}

/// A wait that a signal has interrupted was a wait without events.
fn unless_interrupted(waited: io::Result<()>) -> io::Result<()> {
    match waited {
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
        waited => waited,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A whole comparison of servers ended with "Interrupted system call" when the load generator was stopped for a
    /// moment (SIGSTOP, SIGCONT): waiting for events is not begun again by the system. Sending and receiving were tried
    /// again already, so only waiting was left, and no test stops itself.
    #[test]
    fn an_interrupted_wait_is_no_failure() {
        assert!(unless_interrupted(Err(ErrorKind::Interrupted.into())).is_ok());
        assert!(unless_interrupted(Err(ErrorKind::NotConnected.into())).is_err());
    }
}
