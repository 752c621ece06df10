//! What clients may change while the server runs (`CONFIG SET`), readable by every loop without waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;
use subtle::ConstantTimeEq;

/// The changeable settings.
#[derive(Debug)]
pub(crate) struct Settings {
    password: RwLock<Option<Arc<[u8]>>>,
    has_password: AtomicBool,
    max_clients: AtomicUsize,
    idle_timeout_s: AtomicU64,
}

impl Settings {
    /// Starts from the configuration.
    pub(crate) fn new(password: Option<&str>, max_clients: usize, idle_timeout_s: u64) -> Self {
        let settings = Self {
            password: RwLock::new(None),
            has_password: AtomicBool::new(false),
            max_clients: AtomicUsize::new(max_clients),
            idle_timeout_s: AtomicU64::new(idle_timeout_s),
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

    /// Changes the idle time.
    pub(crate) fn set_idle_timeout_s(&self, seconds: u64) {
        self.idle_timeout_s.store(seconds, Ordering::Relaxed);
    }
}
