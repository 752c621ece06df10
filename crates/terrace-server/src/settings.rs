//! What clients may change while the server runs (`CONFIG SET`), readable by every loop without waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;
use subtle::ConstantTimeEq;

use crate::notify::Classes;

/// The changeable settings.
#[derive(Debug)]
pub(crate) struct Settings {
    password: RwLock<Option<Arc<[u8]>>>,
    has_password: AtomicBool,
    max_clients: AtomicUsize,
    idle_timeout_s: AtomicU64,
    notify_classes: AtomicU32,
    expire_effort: AtomicU64,
    expires_actively: AtomicBool,
    subscriber_limits: RwLock<SubscriberLimits>,
}

/// When a subscriber that does not take its messages is cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SubscriberLimits {
    /// At once, with so many bytes waiting; 0 for never.
    pub(crate) hard_bytes: usize,
    /// With so many bytes waiting for some time; 0 for never.
    pub(crate) soft_bytes: usize,
    /// That time, in seconds.
    pub(crate) soft_s: u64,
}

impl SubscriberLimits {
    /// 32 MiB, or 8 MiB for a minute.
    const DEFAULT: Self = Self { hard_bytes: 32 << 20, soft_bytes: 8 << 20, soft_s: 60 };
}

impl Settings {
    /// Starts from the configuration.
    pub(crate) fn new(password: Option<&str>, max_clients: usize, idle_timeout_s: u64) -> Self {
        let settings = Self {
            password: RwLock::new(None),
            has_password: AtomicBool::new(false),
            max_clients: AtomicUsize::new(max_clients),
            idle_timeout_s: AtomicU64::new(idle_timeout_s),
            notify_classes: AtomicU32::new(0),
            expire_effort: AtomicU64::new(1),
            expires_actively: AtomicBool::new(true),
            subscriber_limits: RwLock::new(SubscriberLimits::DEFAULT),
        };
        settings.set_password(password.unwrap_or_default().as_bytes());
        settings
    }

    /// Whether clients must authenticate.
    pub(crate) fn has_password(&self) -> bool {
        self.has_password.load(Ordering::Acquire)
    }

    /// Sets the password; an empty one means none.
    pub(crate) fn set_password(&self, password: &[u8]) {
        let mut slot = self.password.write();
        *slot = (!password.is_empty()).then(|| Arc::from(password));
        self.has_password.store(slot.is_some(), Ordering::Release);
    }

    /// The password.
    pub(crate) fn password(&self) -> Option<Arc<[u8]>> {
        self.password.read().clone()
    }

    /// Whether `given` is the password, in a time that does not depend on where they differ.
    pub(crate) fn password_matches(&self, given: &[u8]) -> bool {
        match &*self.password.read() {
            None => true,
            Some(expected) => bool::from(expected.ct_eq(given)),
        }
    }

    /// Connections served at once.
    pub(crate) fn max_clients(&self) -> usize {
        self.max_clients.load(Ordering::Relaxed)
    }

    /// Changes the number of connections served at once; those already open stay.
    pub(crate) fn set_max_clients(&self, count: usize) {
        self.max_clients.store(count, Ordering::Relaxed);
    }

    /// Seconds after which an idle connection is closed; 0 means never.
    pub(crate) fn idle_timeout_s(&self) -> u64 {
        self.idle_timeout_s.load(Ordering::Relaxed)
    }

    /// The classes of keyspace events that were chosen.
    pub(crate) fn notify_classes(&self) -> Classes {
        self.notify_classes.load(Ordering::Relaxed)
    }

    /// Chooses the classes of keyspace events. The caller also tells the writers; see `effects`.
    pub(crate) fn set_notify_classes(&self, classes: Classes) {
        self.notify_classes.store(classes, Ordering::Relaxed);
    }

    /// How much time active expiry may take, 1 to 10.
    pub(crate) fn expire_effort(&self) -> u64 {
        self.expire_effort.load(Ordering::Relaxed)
    }

    /// Changes it.
    pub(crate) fn set_expire_effort(&self, effort: u64) {
        self.expire_effort.store(effort, Ordering::Relaxed);
    }

    /// Whether expired keys are removed without being asked for.
    pub(crate) fn expires_actively(&self) -> bool {
        self.expires_actively.load(Ordering::Relaxed)
    }

    /// Changes it (`DEBUG SET-ACTIVE-EXPIRE`).
    pub(crate) fn set_expires_actively(&self, on: bool) {
        self.expires_actively.store(on, Ordering::Relaxed);
    }

    /// When a slow subscriber is cut off.
    pub(crate) fn subscriber_limits(&self) -> SubscriberLimits {
        *self.subscriber_limits.read()
    }

    /// Changes it.
    pub(crate) fn set_subscriber_limits(&self, limits: SubscriberLimits) {
        *self.subscriber_limits.write() = limits;
    }

    /// Changes the idle time.
    pub(crate) fn set_idle_timeout_s(&self, seconds: u64) {
        self.idle_timeout_s.store(seconds, Ordering::Relaxed);
    }
}
