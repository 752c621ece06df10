//! When the requests of an open loop are due, and a timer that wakes a poll at that time to the microsecond.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Result;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Requests at equal distances, dealt to the connections in turn.
pub(super) struct Pace {
    started: Instant,
    interval_ns: f64,
    sent: u64,
    timer: OwnedFd,
}

impl Pace {
    /// `rate` requests a second from now on.
    pub(super) fn new(rate: f64) -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { started: Instant::now(), interval_ns: 1e9 / rate, sent: 0, timer })
    }

    /// Lets a poll see the timer.
    pub(super) fn register(&self, registry: &Registry, token: Token) -> Result<()> {
        Ok(registry.register(&mut SourceFd(&self.timer.as_raw_fd()), token, Interest::READABLE)?)
    }

    /// When the next request is due.
    pub(super) fn next(&self) -> Instant {
        self.started + Duration::from_nanos((self.sent as f64 * self.interval_ns) as u64)
    }

    /// The request that is due now, if any: when it should have been sent, and its number.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Instant, u64)> {
        let due = self.next();
        if due > now {
            return None;
        }
        self.sent += 1;
        Some((due, self.sent - 1))
    }

    /// Sets the timer to the next request.
    pub(super) fn arm(&self) -> Result<()> {
        // Zero would switch the timer off.
        let left = self.next().saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let value = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let once = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(
            &self.timer,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: once, it_value: value },
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_equal_distances_however_late_they_are_taken() {
        let mut pace = Pace::new(1000.0).unwrap();
        let late = pace.started + Duration::from_millis(5);
        let due: Vec<_> = std::iter::from_fn(|| pace.take(late)).collect();
        assert_eq!(due.len(), 6);
        assert_eq!(due[3], (pace.started + Duration::from_millis(3), 3));
        assert_eq!(pace.next(), pace.started + Duration::from_millis(6));
    }
}
