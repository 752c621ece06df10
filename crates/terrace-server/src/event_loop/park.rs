//! Writes that wait because the store is behind.
//!
//! A store under pressure would hold up whoever writes, and with the loop all its connections. So a write that would
//! have to wait is parked with its connection, before it has done anything, and the loop goes on; batches are committed
//! without delay (`Databases::batch`). The pace is the store's (`Db::write_delay`): what a turn has committed counts
//! against it, so the next writes wait for that. Parked writes run in their order, and later ones of the same loop come
//! behind them.

use std::time::Duration;

use super::EventLoop;

/// The parked connections of one loop.
#[derive(Debug, Default)]
pub(super) struct Parking {
    /// By slot and client, in order.
    waiting: Vec<(usize, u64)>,
    /// When the store is asked again, by the monotonic clock.
    asks_again_ns: u64,
}

impl Parking {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl EventLoop {
    /// Notes that a connection's write waits.
    pub(super) fn park(&mut self, slot: usize, client: u64) {
        if self.parking.is_empty() {
            let delay = self.shared.databases.store().write_delay();
            self.parking.asks_again_ns = self.after(delay);
        }
        self.shared.parked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.handle.metrics.parks.add(1);
        self.parking.waiting.push((slot, client));
    }

    fn after(&self, delay: Duration) -> u64 {
        self.shared.config.clock.monotonic_ns().saturating_add(delay.as_nanos() as u64)
    }

    /// How long the parked writes still wait.
    pub(super) fn until_unparked(&self) -> Option<Duration> {
        if self.parking.is_empty() {
            return None;
        }
        let now_ns = self.shared.config.clock.monotonic_ns();
        Some(Duration::from_nanos(self.parking.asks_again_ns.saturating_sub(now_ns)))
    }

    /// Has the parked writes served again, in their order, if the store takes writes by now.
    pub(super) fn unpark(&mut self) {
        if self.parking.is_empty() || self.shared.config.clock.monotonic_ns() < self.parking.asks_again_ns {
            return;
        }
        let delay = self.shared.databases.store().write_delay();
        if !delay.is_zero() {
            self.parking.asks_again_ns = self.after(delay);
            return;
        }
        for (slot, client) in std::mem::take(&mut self.parking.waiting) {
            self.shared.parked.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            if self.client_in(slot, client).is_some() {
                self.enqueue(slot);
            }
        }
    }
}
