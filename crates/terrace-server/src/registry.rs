//! Who is connected: what `CLIENT LIST`, `CLIENT KILL` and `INFO` know about every client.
//!
//! Each loop updates the entries of its own connections with plain atomic stores; the registry's lock is
//! taken only when a connection comes or goes, and by those commands.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::pubsub::{Kind, Place, Subscriptions};
use crate::stream::Address;
use crate::tracking::Tracking;

/// The letters of flags in `CLIENT LIST`: subscriber, in a transaction, tracking, its redirection broken, tracking
/// in broadcast mode, not to be evicted, not touching keys.
const FLAGS: [char; 7] = ['P', 'x', 't', 'R', 'B', 'e', 'T'];

/// What a session lets others see.
pub(crate) struct Shown<'a> {
    /// The selected database.
    pub(crate) db: u8,
    /// 2 or 3.
    pub(crate) protocol: u8,
    /// Requests since `MULTI`.
    pub(crate) queued: Option<usize>,
    /// Keys that it watches.
    pub(crate) watched: usize,
    /// What it listens to.
    pub(crate) subscriptions: &'a Subscriptions,
    /// What it tracks.
    pub(crate) tracking: &'a Tracking,
    /// `CLIENT NO-EVICT ON`.
    pub(crate) no_evict: bool,
    /// `CLIENT NO-TOUCH ON`.
    pub(crate) no_touch: bool,
}

/// Texts that a client gives itself.
#[derive(Clone, Debug, Default)]
struct Names {
    name: String,
    lib_name: String,
    lib_version: String,
    /// Who it is; empty for the default user.
    user: String,
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
    /// The loop that serves it, in the upper half, and its slot there.
    place: AtomicU64,
    /// When it connected.
    pub(crate) connected_at_ms: u64,
    /// When it last sent something.
    pub(crate) active_at_ms: AtomicU64,
    /// The last command, as an index of the command table.
    pub(crate) command: AtomicU8,
    /// The subcommand of it that ran last, 0 for none.
    pub(crate) subcommand: AtomicU8,
    /// The selected database.
    pub(crate) db: AtomicU8,
    /// 2 or 3.
    protocol: AtomicU8,
    /// Requests since `MULTI`, or -1.
    queued: AtomicI64,
    watched: AtomicUsize,
    /// What it listens to: channels, patterns, sharded channels.
    listens: [AtomicUsize; 3],
    /// Where its invalidations go; -1 if it tracks nothing.
    redirect: AtomicI64,
    /// A sum of flags, by their position in [`FLAGS`].
    flags: AtomicU8,
    /// Bytes of requests waiting.
    pub(crate) input_bytes: AtomicUsize,
    /// Bytes of replies waiting.
    pub(crate) output_bytes: AtomicUsize,
    names: Mutex<Names>,
}

fn packed(loop_index: usize, slot: usize) -> u64 {
    (loop_index as u64) << 32 | slot as u64
}

impl ClientInfo {
    /// The loop that serves it, and its slot there. It may have moved by the time that a letter arrives.
    pub(crate) fn place(&self) -> Place {
        let place = self.place.load(Ordering::Acquire);
        Place { client: self.id, loop_index: (place >> 32) as usize, slot: place as u32 as usize }
    }

    /// It has been sent to that loop, which finds it a slot. Changes nothing if the loop has done so already. What is
    /// sent to it from now on comes there after the connection.
    pub(crate) fn sent_to(&self, loop_index: usize, from: Place) {
        let before = packed(from.loop_index, from.slot);
        let on_its_way = packed(loop_index, u32::MAX as usize);
        let _ = self.place.compare_exchange(before, on_its_way, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// It is served there from now on.
    pub(crate) fn move_to(&self, loop_index: usize, slot: usize) {
        self.place.store(packed(loop_index, slot), Ordering::Release);
    }

    /// A client that has just connected.
    pub(crate) fn new(place: Place, peer: Address, local: Address, now_ms: u64) -> Self {
        Self {
            id: place.client,
            peer,
            local,
            place: AtomicU64::new(packed(place.loop_index, place.slot)),
            connected_at_ms: now_ms,
            active_at_ms: AtomicU64::new(now_ms),
            command: AtomicU8::new(u8::MAX),
            subcommand: AtomicU8::new(0),
            db: AtomicU8::new(0),
            protocol: AtomicU8::new(2),
            queued: AtomicI64::new(-1),
            watched: AtomicUsize::new(0),
            listens: Default::default(),
            redirect: AtomicI64::new(-1),
            flags: AtomicU8::new(0),
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

    /// The user that it is.
    pub(crate) fn user(&self) -> String {
        let user = self.names.lock().user.clone();
        if user.is_empty() { "default".into() } else { user }
    }

    /// Says which user it is.
    pub(crate) fn set_user(&self, name: &str) {
        self.names.lock().user = name.into();
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

    /// How many keys it watches.
    pub(crate) fn watched_keys(&self) -> usize {
        self.watched.load(Ordering::Relaxed)
    }

    /// Whether it is a subscriber.
    pub(crate) fn is_subscriber(&self) -> bool {
        self.listens.iter().any(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// Takes over what its session says.
    pub(crate) fn show(&self, shown: &Shown<'_>) {
        self.db.store(shown.db, Ordering::Relaxed);
        self.protocol.store(shown.protocol, Ordering::Relaxed);
        self.queued.store(shown.queued.map_or(-1, |count| count as i64), Ordering::Relaxed);
        self.watched.store(shown.watched, Ordering::Relaxed);
        for (kind, count) in [Kind::Channel, Kind::Pattern, Kind::Shard].into_iter().zip(&self.listens) {
            count.store(shown.subscriptions.len(kind), Ordering::Relaxed);
        }
        let redirect = if shown.tracking.on { shown.tracking.redirect as i64 } else { -1 };
        self.redirect.store(redirect, Ordering::Relaxed);
        let set = [
            !shown.subscriptions.is_empty(),
            shown.queued.is_some(),
            shown.tracking.on,
            shown.tracking.broken,
            shown.tracking.broadcast,
            shown.no_evict,
            shown.no_touch,
        ];
        let flags = set.iter().enumerate().map(|(at, set)| u8::from(*set) << at).sum();
        self.flags.store(flags, Ordering::Relaxed);
    }

    fn flags(&self) -> String {
        let set = self.flags.load(Ordering::Relaxed);
        let text: String = FLAGS
            .iter()
            .enumerate()
            .filter(|(at, _)| set & 1 << at != 0)
            .map(|(_, letter)| *letter)
            .collect();
        if text.is_empty() { "N".into() } else { text }
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
            "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} watch={} \
             qbuf={input} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={output} oll=0 omem={output} \
             tot-mem={} events=r cmd={command} user={} redir={} resp={} lib-name={} lib-ver={}",
            self.id,
            self.peer,
            self.local,
            names.name,
            seconds_since(self.connected_at_ms),
            seconds_since(self.active_at_ms.load(Ordering::Relaxed)),
            self.flags(),
            self.db.load(Ordering::Relaxed),
            self.listens[0].load(Ordering::Relaxed),
            self.listens[1].load(Ordering::Relaxed),
            self.listens[2].load(Ordering::Relaxed),
            self.queued.load(Ordering::Relaxed),
            self.watched.load(Ordering::Relaxed),
            input + output,
            self.user(),
            self.redirect.load(Ordering::Relaxed),
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

    /// Where a client is served, if it is there.
    pub(crate) fn place(&self, id: u64) -> Option<Place> {
        let clients = self.clients.lock();
        clients.get(&id).map(|client| client.place())
    }

    /// All clients, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<ClientInfo>> {
        self.clients.lock().values().cloned().collect()
    }
}
