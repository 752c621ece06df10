//! Who is connected: what `CLIENT LIST`, `CLIENT KILL` and `INFO` know about every client.
//!
//! Each loop updates the entries of its own connections with plain atomic stores; the registry's lock is
//! taken only when a connection comes or goes, and by those commands.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::stream::Address;

/// Texts that a client gives itself.
#[derive(Clone, Debug, Default)]
struct Names {
    name: String,
    lib_name: String,
    lib_version: String,
}

/// What others may see of a client.
#[derive(Debug)]
pub(crate) struct ClientInfo {
    /// Its number, never used again.
    pub(crate) id: u64,
    /// Its address.
    pub(crate) peer: Address,
    /// The address it connected to.
    pub(crate) local: Address,
    /// The loop that serves it.
    pub(crate) loop_index: usize,
    /// When it connected.
    pub(crate) connected_at_ms: u64,
    /// When it last sent something.
    pub(crate) active_at_ms: AtomicU64,
    /// The last command, as an index of the command table.
    pub(crate) command: AtomicU8,
    /// The selected database.
    pub(crate) db: AtomicU8,
    /// 2 or 3.
    pub(crate) protocol: AtomicU8,
    /// Bytes of requests waiting.
    pub(crate) input_bytes: AtomicUsize,
    /// Bytes of replies waiting.
    pub(crate) output_bytes: AtomicUsize,
    names: Mutex<Names>,
}

impl ClientInfo {
    /// A client that has just connected.
    pub(crate) fn new(id: u64, peer: Address, local: Address, loop_index: usize, now_ms: u64) -> Self {
        Self {
            id,
            peer,
            local,
            loop_index,
            connected_at_ms: now_ms,
            active_at_ms: AtomicU64::new(now_ms),
            command: AtomicU8::new(u8::MAX),
            db: AtomicU8::new(0),
            protocol: AtomicU8::new(2),
            input_bytes: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            names: Mutex::default(),
        }
    }

    /// Its name; empty if it has none.
    pub(crate) fn name(&self) -> String {
        self.names.lock().name.clone()
    }

    /// Sets its name.
    pub(crate) fn set_name(&self, name: &str) {
        self.names.lock().name = name.into();
    }

    /// Sets the name of its library.
    pub(crate) fn set_lib_name(&self, name: &str) {
        self.names.lock().lib_name = name.into();
    }

    /// Sets the version of its library.
    pub(crate) fn set_lib_version(&self, version: &str) {
        self.names.lock().lib_version = version.into();
    }

    /// Bytes of requests and replies waiting.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.input_bytes.load(Ordering::Relaxed) + self.output_bytes.load(Ordering::Relaxed)
    }

    /// The line of `CLIENT LIST`.
    pub(crate) fn describe(&self, now_ms: u64, command: &str) -> String {
        let names = self.names.lock().clone();
        let seconds_since = |at: u64| now_ms.saturating_sub(at) / 1000;
        let (input, output) =
            (self.input_bytes.load(Ordering::Relaxed), self.output_bytes.load(Ordering::Relaxed));
        let mut line = String::new();
        let _ = write!(
            line,
            "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags=N db={} sub=0 psub=0 ssub=0 multi=-1 \
             qbuf={input} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={output} oll=0 omem={output} \
             tot-mem={} events=r cmd={command} user=default redir=-1 resp={} lib-name={} lib-ver={}",
            self.id,
            self.peer,
            self.local,
            names.name,
            seconds_since(self.connected_at_ms),
            seconds_since(self.active_at_ms.load(Ordering::Relaxed)),
            self.db.load(Ordering::Relaxed),
            input + output,
            self.protocol.load(Ordering::Relaxed),
            names.lib_name,
            names.lib_version,
        );
        line
    }
}

/// All clients.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    clients: Mutex<BTreeMap<u64, Arc<ClientInfo>>>,
    count: AtomicUsize,
    last_id: AtomicU64,
}

impl Registry {
    /// A number for a new client.
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Adds a client unless there are `max` already.
    pub(crate) fn try_reserve(&self, max: usize) -> bool {
        let reserve = |count| (count < max).then_some(count + 1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve).is_ok()
    }

    /// Gives back a reservation.
    pub(crate) fn release(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Shows a client for which there is a reservation.
    pub(crate) fn add(&self, info: &Arc<ClientInfo>) {
        self.clients.lock().insert(info.id, Arc::clone(info));
    }

    /// Removes a client and its reservation.
    pub(crate) fn remove(&self, id: u64) {
        if self.clients.lock().remove(&id).is_some() {
            self.release();
        }
    }

    /// How many are connected.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// All clients, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<ClientInfo>> {
        self.clients.lock().values().cloned().collect()
    }
}
