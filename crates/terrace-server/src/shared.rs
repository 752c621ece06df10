//! What all loops share: the store, the settings, the list of clients, and a letter box per loop.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use mio::Waker;
use parking_lot::Mutex;

use crate::ServerConfig;
use crate::acl::{Hash, User, Users};
use crate::commands::Ran;
use crate::cursor::CursorTable;
use crate::databases::Databases;
use crate::durability::Level;
use crate::effects::Watch;
use crate::listening::Listening;
use crate::metrics::LoopMetrics;
use crate::observe::Observation;
use crate::overseer::Overseer;
use crate::pause::Pause;
use crate::penalty::Penalties;
use crate::pubsub::{Hub, Push};
use crate::recency::Recency;
use crate::registry::Registry;
use crate::saves::Saves;
use crate::schedule::Schedule;
use crate::settings::Settings;
use crate::stream::{Address, Listener, Stream};
use crate::tls::Tls;
use crate::tracking::Tracker;

/// Commands running on threads of their own at once.
const MAX_JOBS: usize = 16;

/// The most bytes of pushes that wait for a loop to take them. Receivers of what is beyond are cut off.
pub(crate) const MAX_QUEUED_BYTES: usize = 256 << 20;

/// A letter to a loop.
pub(crate) enum Message {
    /// A connection to serve, already counted by the registry.
    Connection(Stream, Address),
    /// The writes up to a barrier survive a power loss, or never will.
    Durable(u64, terrace::Result<()>),
    /// What a connection waited for is durable, or never will be.
    Synced {
        /// The slot of its connection.
        slot: usize,
        /// The number of the wait.
        wait: u64,
        /// Whether it is.
        answer: terrace::Result<()>,
    },
    /// A long command has its reply.
    JobDone {
        /// The slot of its connection.
        slot: usize,
        /// The client, in case the slot has another one by now.
        client: u64,
        /// The encoded reply.
        reply: Vec<u8>,
        /// What has run.
        ran: Ran,
        /// Its arguments, as the slow log keeps them.
        args: Vec<Vec<u8>>,
    },
    /// A command to show to a client that watches.
    Show {
        /// The slot of its connection.
        slot: usize,
        /// The client, in case the slot has another one by now.
        client: u64,
        /// What is shown.
        line: Arc<[u8]>,
    },
    /// Listen at these, too, and nowhere but at these addresses.
    Listen {
        /// What was opened.
        fresh: Vec<Listener>,
        /// All that are to be open.
        addresses: Vec<SocketAddr>,
    },
    /// Disconnect a client.
    Kill(u64),
    /// A user has other rules or is gone, by the will of this client.
    UserChanged(Arc<User>, u64),
    /// Something for several of its clients, by slot and number.
    Push(Arc<Push>, Vec<(usize, u64)>),
    /// A pause has ended or changed.
    PauseChanged,
    /// Forget the counters.
    ResetMetrics,
}

/// What others need to reach a loop.
pub(crate) struct LoopHandle {
    inbox: Mutex<Vec<Message>>,
    waker: Waker,
    /// The loop waits for events and would not see a letter without being woken.
    sleeps: AtomicBool,
    /// Bytes of pushes in the inbox.
    queued_bytes: AtomicUsize,
    /// Its open connections.
    pub(crate) connections: AtomicUsize,
    /// What it has counted.
    pub(crate) metrics: LoopMetrics,
}

impl LoopHandle {
    /// A handle that wakes its loop through `waker`.
    pub(crate) fn new(waker: Waker) -> Self {
        Self {
            inbox: Mutex::default(),
            waker,
            sleeps: AtomicBool::new(false),
            queued_bytes: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            metrics: LoopMetrics::default(),
        }
    }

    /// Sends a letter.
    pub(crate) fn send(&self, message: Message) {
        self.inbox.lock().push(message);
        if self.sleeps.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Sends a push to clients of this loop.
    pub(crate) fn push(&self, push: Arc<Push>, to: Vec<(usize, u64)>) {
        let bytes = push.bytes();
        if self.queued_bytes.fetch_add(bytes, Ordering::Relaxed) < MAX_QUEUED_BYTES {
            self.send(Message::Push(push, to));
            return;
        }
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        for (_, client) in to {
            self.send(Message::Kill(client));
        }
    }

    /// Notes that a push was taken out of the inbox.
    pub(crate) fn push_taken(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Announces that the loop is about to wait for events; `false` if a letter has come and it must not.
    pub(crate) fn begin_sleep(&self) -> bool {
        self.sleeps.store(true, Ordering::SeqCst);
        self.inbox.lock().is_empty()
    }

    /// Ends it.
    pub(crate) fn end_sleep(&self) {
        self.sleeps.store(false, Ordering::SeqCst);
    }

    /// Makes the loop look around.
    pub(crate) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "cannot wake an event loop");
        }
    }

    /// Takes all letters.
    pub(crate) fn take_messages(&self) -> Vec<Message> {
        std::mem::take(&mut *self.inbox.lock())
    }
}

/// Everything that is shared.
pub(crate) struct Shared {
    /// What the server was started with.
    pub(crate) config: ServerConfig,
    /// Where it listened first.
    pub(crate) local_addr: SocketAddr,
    /// Where it listens now.
    pub(crate) listening: Listening,
    /// Where it listens with TLS, and what clients get there.
    pub(crate) tls: Option<(SocketAddr, Arc<Tls>)>,
    /// The databases.
    pub(crate) databases: Databases,
    /// What clients may change.
    pub(crate) settings: Settings,
    /// Users and what they may do.
    pub(crate) users: Users,
    /// Who is connected.
    pub(crate) clients: Registry,
    /// The loops.
    pub(crate) loops: Vec<Arc<LoopHandle>>,
    /// What is noted of commands that run.
    pub(crate) observation: Observation,
    /// When keys were last used.
    pub(crate) recency: Recency,
    /// Who gave wrong passwords lately.
    pub(crate) penalties: Penalties,
    /// How saving goes.
    pub(crate) saves: Saves,
    /// How flushing goes, when it is asked for by `BGREWRITEAOF`.
    pub(crate) rewrites: Saves,
    /// Looks at the whole once a second.
    pub(crate) overseer: Overseer,
    /// Who listens to what.
    pub(crate) hub: Hub,
    /// Who caches what.
    pub(crate) tracker: Tracker,
    /// What somebody wants to know of writes.
    pub(crate) watch: Watch,
    /// Which keys expire next.
    pub(crate) schedule: Schedule,
    /// Keys removed because they had expired.
    pub(crate) expired_keys: AtomicU64,
    /// Fields of hashes removed because they had expired.
    pub(crate) expired_fields: AtomicU64,
    /// Until when commands wait.
    pub(crate) pause: Pause,
    /// Connections whose writes wait for the store.
    pub(crate) parked: AtomicUsize,
    /// Positions of running `SCAN`s.
    pub(crate) cursors: Mutex<CursorTable>,
    /// When the server started.
    pub(crate) started_at_ms: u64,
    /// Forty hexadecimal digits that differ between runs.
    pub(crate) run_id: String,
    stopping: AtomicBool,
    jobs: AtomicUsize,
}

impl Shared {
    /// The shared state of a server about to start.
    pub(crate) fn new(
        config: ServerConfig,
        (local_addr, addresses): (SocketAddr, Vec<SocketAddr>),
        tls: Option<(SocketAddr, Arc<Tls>)>,
        loops: Vec<Arc<LoopHandle>>,
    ) -> Self {
        let started_at_ms = config.clock.now_ms();
        let ports = [config.plain_port.then_some(&local_addr), tls.as_ref().map(|(address, _)| address)];
        let settings = Settings::new(&config, ports.map(|address| address.map_or(0, SocketAddr::port)));
        let random = terrace::Env::default().rng;
        let run_id = format!(
            "{:016x}{:016x}{:08x}",
            random.next_u64(),
            random.next_u64(),
            random.next_u64() & 0xffff_ffff
        );
        Self {
            listening: Listening::new(addresses),
            local_addr,
            tls,
            databases: Databases::new(config.db.clone()),
            users: Users::new(settings.get("requirepass").as_bytes()),
            settings,
            clients: Registry::default(),
            loops,
            observation: Observation::default(),
            recency: Recency::new(started_at_ms),
            penalties: Penalties::default(),
            saves: Saves::default(),
            rewrites: Saves::default(),
            overseer: Overseer::default(),
            hub: Hub::default(),
            tracker: Tracker::default(),
            watch: Watch::default(),
            schedule: Schedule::default(),
            expired_keys: AtomicU64::new(0),
            expired_fields: AtomicU64::new(0),
            pause: Pause::default(),
            parked: AtomicUsize::new(0),
            cursors: Mutex::new(CursorTable::new(random.next_u64())),
            started_at_ms,
            run_id,
            stopping: AtomicBool::new(false),
            jobs: AtomicUsize::new(0),
            config,
        }
    }

    /// Milliseconds since the epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        self.config.clock.now_ms()
    }

    /// What the store does for every write.
    pub(crate) fn store_level(&self) -> Level {
        Level::of(self.config.durability)
    }

    /// Whether neighbours may be run together: nobody wants to see each of them.
    pub(crate) fn groups(&self) -> bool {
        !self.observation.monitors.any() && !(0..1000).contains(&self.settings.slow_us())
    }

    /// Tells those who have copies of settings that these have changed.
    pub(crate) fn settings_changed(&self) {
        self.watch.set_classes(self.settings.notify_classes());
        let keys = usize::try_from(self.settings.configuration().number("tracking-table-max-keys"));
        self.tracker.set_max_keys(self, keys.unwrap_or(usize::MAX));
    }

    /// Whether a new user may use every channel.
    pub(crate) fn every_channel(&self) -> bool {
        self.settings.get("acl-pubsub-default") == "allchannels"
    }

    /// Reads the users from a file; `by` is the client who wants it so.
    pub(crate) fn load_users(&self, path: &Path, by: u64) -> Result<(), String> {
        let password = self.settings.get("requirepass");
        let changed = self.users.load(path, self.every_channel(), password.as_bytes())?;
        self.users_agree_with_settings();
        self.users_changed(&changed, by);
        Ok(())
    }

    /// Reads the users from the file that the configuration names, or takes those that stand in the configuration itself.
    pub(crate) fn load_users_at_start(&self) -> io::Result<()> {
        let configuration = self.settings.configuration();
        let (path, users) = (configuration.get("aclfile"), configuration.users());
        let place = configuration
            .file()
            .map_or_else(|| "the configuration".into(), |file| file.display().to_string());
        let loaded = match (path, users) {
            ("", []) => return Ok(()),
            ("", users) => {
                let password = configuration.get("requirepass").as_bytes();
                let taken = self.users.configure((users, &place), self.every_channel(), password);
                taken.inspect(|()| self.users_agree_with_settings())
            }
            (path, []) => self.load_users(Path::new(path), 0),
            (path, _) => Err(format!(
                "{place}: there are users here and in the aclfile {path}; keep one of the two (aclfile = \"\" for this one)"
            )),
        };
        loaded.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Shows no password as `requirepass` that is not one any more.
    pub(crate) fn users_agree_with_settings(&self) {
        let rules = self.users.default_user().rules();
        let password = Hash::of(self.settings.get("requirepass").as_bytes());
        if rules.no_password || !rules.passwords().contains(&password.digits()) {
            self.settings.note("requirepass", "");
        }
    }

    /// Has the loops look at the connections of users who may do less now, or are gone.
    pub(crate) fn users_changed(&self, users: &[Arc<User>], by: u64) {
        for (handle, user) in
            self.loops.iter().flat_map(|handle| users.iter().map(move |user| (handle, user)))
        {
            handle.send(Message::UserChanged(Arc::clone(user), by));
        }
    }

    /// Begins the shutdown.
    pub(crate) fn stop(&self) {
        if !self.stopping.swap(true, Ordering::AcqRel) {
            self.loops.iter().for_each(|handle| handle.wake());
        }
    }

    /// Whether the shutdown has begun.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Runs `job` on a thread of its own, unless too many run already.
    pub(crate) fn start_job(self: &Arc<Self>, job: impl FnOnce(&Self) + Send + 'static) -> io::Result<()> {
        let reserve = |count| (count < MAX_JOBS).then_some(count + 1);
        if self.jobs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve).is_err() {
            return Err(io::Error::other("too many long commands are running, try again"));
        }
        let shared = Arc::clone(self);
        let body = move || {
            let run = std::panic::AssertUnwindSafe(|| job(&shared));
            if std::panic::catch_unwind(run).is_err() {
                tracing::error!("a long command panicked");
            }
            shared.jobs.fetch_sub(1, Ordering::Relaxed);
        };
        let started = std::thread::Builder::new().name("terrace-job".into()).spawn(body);
        started.map(|_| ()).inspect_err(|_| {
            self.jobs.fetch_sub(1, Ordering::Relaxed);
        })
    }
}
