//! `Env`: the world as one value, handed down from `Options` to everything that touches it.

use std::sync::Arc;

use super::os::{OsClock, OsFs, OsRng, OsSpawn};
use super::{Clock, Fs, Rng, Spawn};

/// File system, clock, randomness and threads of a store.
///
/// The default is the real system. Without `spawn`, no background thread is started: flushes and
/// compactions then run inside the call that needs them, in a fixed order, which is what makes simulated
/// runs repeatable.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Env {
    /// Files.
    pub fs: Arc<dyn Fs>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Seeds.
    pub rng: Arc<dyn Rng>,
    /// Background threads, or `None` to run background work inline.
    pub spawn: Option<Arc<dyn Spawn>>,
}

impl Default for Env {
    fn default() -> Self {
        Self {
            fs: Arc::new(OsFs::default()),
            clock: Arc::new(OsClock::default()),
            rng: Arc::new(OsRng),
            spawn: Some(Arc::new(OsSpawn)),
        }
    }
}

impl Env {
    /// A world without threads, for repeatable runs.
    pub fn inline(fs: Arc<dyn Fs>, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        Self { fs, clock, rng, spawn: None }
    }
}
