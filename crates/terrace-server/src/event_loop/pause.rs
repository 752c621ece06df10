//! Requests that wait for the end of a `CLIENT PAUSE`.

use std::time::Duration;

use super::EventLoop;

impl EventLoop {
    /// How long a pause still holds up a request of this loop.
    pub(super) fn until_pause_ends(&self) -> Option<Duration> {
        if self.postponed.is_empty() {
            return None;
        }
        let left_ms = self.shared.pause.until_ms().saturating_sub(self.shared.now_ms());
        Some(Duration::from_millis(left_ms))
    }

    /// Notes that a request waits.
    pub(super) fn postpone(&mut self, slot: usize, client: u64) {
        self.shared.pause.count(1);
        self.postponed.push((slot, client));
    }

    /// Has the waiting requests served again, in their order, when the pause has ended or lets more through.
    pub(super) fn end_pause(&mut self) {
        if self.postponed.is_empty()
            || (self.shared.pause.scope(self.now_ms).is_some() && !self.pause_changed)
        {
            return;
        }
        self.pause_changed = false;
        for (slot, client) in std::mem::take(&mut self.postponed) {
            self.shared.pause.count(-1);
            if self.client_in(slot, client).is_some() {
                self.enqueue(slot);
            }
        }
    }
}
