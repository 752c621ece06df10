//! The configuration while the server runs: every parameter as text, and copies of those that loops ask for at every
//! turn, readable without waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::ServerConfig;
use crate::durability::Level;
use crate::listening;
use crate::notify::{self, Classes};
use crate::parameters::{Configuration, Parameter, parse_output_limits};

/// Called with the new value of `loglevel`.
pub type LogLevelHook = Arc<dyn Fn(&str) + Send + Sync>;

/// When a subscriber that does not take its messages is cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SubscriberLimits {
    /// At once, with so many bytes waiting; 0 for never.
    pub(crate) hard_bytes: usize,
    /// With so many bytes waiting for some time; 0 for never.
    pub(crate) soft_bytes: usize,
    /// That time, in seconds.
    pub(crate) soft_s: u64,
}

/// The changeable settings.
pub(crate) struct Settings {
    configuration: Mutex<Configuration>,
    on_log_level: Option<LogLevelHook>,
    /// The hard limit of a normal client's output when the configuration sets none.
    output_hard_bytes: usize,
    protected: AtomicBool,
    latency_tracking: AtomicBool,
    durability: AtomicU8,
    max_clients: AtomicUsize,
    max_argument_bytes: AtomicUsize,
    max_query_bytes: AtomicUsize,
    max_output_bytes: AtomicUsize,
    subscriber_limits: RwLock<SubscriberLimits>,
    notify_classes: AtomicU32,
    expire_effort: AtomicU64,
    expires_actively: AtomicBool,
    idle_timeout_s: AtomicU64,
    keepalive_s: AtomicU64,
    shutdown_timeout_s: AtomicU64,
    slow_us: AtomicI64,
    slow_entries: AtomicUsize,
    latency_threshold_ms: AtomicU64,
    list_fields: AtomicU64,
    list_bytes: AtomicUsize,
}

impl Settings {
    /// Starts from the configuration of a server that listens on these ports: without and with TLS; 0 is none.
    pub(crate) fn new(config: &ServerConfig, ports: [u16; 2]) -> Self {
        let settings = Self {
            configuration: Mutex::new(effective(config, ports)),
            on_log_level: config.on_log_level.clone(),
            output_hard_bytes: config.output_hard_bytes,
            protected: AtomicBool::default(),
            latency_tracking: AtomicBool::default(),
            durability: AtomicU8::default(),
            max_clients: AtomicUsize::default(),
            max_argument_bytes: AtomicUsize::default(),
            max_query_bytes: AtomicUsize::default(),
            max_output_bytes: AtomicUsize::default(),
            subscriber_limits: RwLock::default(),
            notify_classes: AtomicU32::default(),
            expire_effort: AtomicU64::default(),
            expires_actively: AtomicBool::new(true),
            idle_timeout_s: AtomicU64::default(),
            keepalive_s: AtomicU64::default(),
            shutdown_timeout_s: AtomicU64::default(),
            slow_us: AtomicI64::default(),
            slow_entries: AtomicUsize::default(),
            latency_threshold_ms: AtomicU64::default(),
            list_fields: AtomicU64::default(),
            list_bytes: AtomicUsize::default(),
        };
        settings.refresh(&settings.configuration());
        settings
    }

    /// All parameters as they are now.
    pub(crate) fn configuration(&self) -> Configuration {
        self.configuration.lock().clone()
    }

    /// The value of one parameter, as `CONFIG GET` shows it. Takes a lock: not for every command.
    pub(crate) fn get(&self, name: &str) -> String {
        self.configuration.lock().get(name).into()
    }

    /// Changes parameters, all together; the values have been checked.
    pub(crate) fn change(&self, values: &[(&'static Parameter, String)]) {
        let mut configuration = self.configuration.lock();
        let level = configuration.get("loglevel").to_string();
        for (parameter, text) in values {
            configuration.store(parameter, text);
        }
        self.refresh(&configuration);
        if let Some(hook) = self.on_log_level.as_ref().filter(|_| configuration.get("loglevel") != level) {
            hook(configuration.get("loglevel"));
        }
    }

    /// Says that a parameter has this value now, as a consequence of something else.
    pub(crate) fn note(&self, name: &str, text: &str) {
        self.configuration.lock().note(name, text);
    }

    /// Brings the copies up to date.
    fn refresh(&self, now: &Configuration) {
        let size = |name: &str| usize::try_from(now.number(name)).unwrap_or(usize::MAX);
        self.protected.store(now.is_on("protected-mode"), Ordering::Relaxed);
        self.latency_tracking.store(now.is_on("latency-tracking"), Ordering::Relaxed);
        let level = Level::parse(now.get("durability").as_bytes()).unwrap_or(Level::Sync);
        self.durability.store(level as u8, Ordering::Relaxed);
        self.max_clients.store(size("maxclients"), Ordering::Relaxed);
        self.max_argument_bytes.store(size("proto-max-bulk-len"), Ordering::Relaxed);
        self.max_query_bytes.store(size("client-query-buffer-limit"), Ordering::Relaxed);
        let limits = parse_output_limits(now.get("client-output-buffer-limit")).unwrap_or_default();
        let bytes = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        let hard = Some(bytes(limits[0].hard_bytes)).filter(|bytes| *bytes > 0);
        self.max_output_bytes.store(hard.unwrap_or(self.output_hard_bytes), Ordering::Relaxed);
        *self.subscriber_limits.write() = SubscriberLimits {
            hard_bytes: bytes(limits[2].hard_bytes),
            soft_bytes: bytes(limits[2].soft_bytes),
            soft_s: limits[2].soft_seconds,
        };
        let classes = notify::parse(now.get("notify-keyspace-events").as_bytes()).unwrap_or_default();
        self.notify_classes.store(classes, Ordering::Relaxed);
        self.expire_effort.store(now.number("active-expire-effort"), Ordering::Relaxed);
        self.idle_timeout_s.store(now.number("timeout"), Ordering::Relaxed);
        self.keepalive_s.store(now.number("tcp-keepalive"), Ordering::Relaxed);
        self.shutdown_timeout_s.store(now.number("shutdown-timeout"), Ordering::Relaxed);
        self.slow_us.store(now.get("slowlog-log-slower-than").parse().unwrap_or(-1), Ordering::Relaxed);
        self.slow_entries.store(size("slowlog-max-len"), Ordering::Relaxed);
        self.latency_threshold_ms.store(now.number("latency-monitor-threshold"), Ordering::Relaxed);
        self.list_fields.store(now.number("hash-max-listpack-entries"), Ordering::Relaxed);
        self.list_bytes.store(size("hash-max-listpack-value"), Ordering::Relaxed);
    }

    /// The number of fields, and the bytes of a name or value, beyond which Redis would no longer keep a hash in a
    /// list.
    pub(crate) fn list_limits(&self) -> (u64, usize) {
        (self.list_fields.load(Ordering::Relaxed), self.list_bytes.load(Ordering::Relaxed))
    }

    /// Whether clients from other machines are refused as long as there is no password.
    pub(crate) fn is_protected(&self) -> bool {
        self.protected.load(Ordering::Relaxed)
    }

    /// Whether `INFO latencystats` shows anything.
    pub(crate) fn tracks_latency(&self) -> bool {
        self.latency_tracking.load(Ordering::Relaxed)
    }

    /// What connections get that have not asked for another level.
    pub(crate) fn durability(&self) -> Level {
        Level::from_number(self.durability.load(Ordering::Relaxed))
    }

    /// Connections served at once; those already open stay when it falls.
    pub(crate) fn max_clients(&self) -> usize {
        self.max_clients.load(Ordering::Relaxed)
    }

    /// The longest argument of a request.
    pub(crate) fn max_argument_bytes(&self) -> usize {
        self.max_argument_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of requests that one connection may have waiting.
    pub(crate) fn max_query_bytes(&self) -> usize {
        self.max_query_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of replies at which a client is disconnected.
    pub(crate) fn max_output_bytes(&self) -> usize {
        self.max_output_bytes.load(Ordering::Relaxed)
    }

    /// When a slow subscriber is cut off.
    pub(crate) fn subscriber_limits(&self) -> SubscriberLimits {
        *self.subscriber_limits.read()
    }

    /// The classes of keyspace events that were chosen.
    pub(crate) fn notify_classes(&self) -> Classes {
        self.notify_classes.load(Ordering::Relaxed)
    }

    /// How much time active expiry may take, 1 to 10.
    pub(crate) fn expire_effort(&self) -> u64 {
        self.expire_effort.load(Ordering::Relaxed)
    }

    /// Whether expired keys are removed without being asked for.
    pub(crate) fn expires_actively(&self) -> bool {
        self.expires_actively.load(Ordering::Relaxed)
    }

    /// Changes it (`DEBUG SET-ACTIVE-EXPIRE`).
    pub(crate) fn set_expires_actively(&self, on: bool) {
        self.expires_actively.store(on, Ordering::Relaxed);
    }

    /// Seconds after which an idle connection is closed; 0 means never.
    pub(crate) fn idle_timeout_s(&self) -> u64 {
        self.idle_timeout_s.load(Ordering::Relaxed)
    }

    /// Seconds of silence after which the system asks for a peer; 0 means never.
    pub(crate) fn keepalive_s(&self) -> u64 {
        self.keepalive_s.load(Ordering::Relaxed)
    }

    /// Seconds that a shutdown waits for clients.
    pub(crate) fn shutdown_timeout_s(&self) -> u64 {
        self.shutdown_timeout_s.load(Ordering::Relaxed)
    }

    /// Microseconds from which a command is slow; negative means that none is.
    pub(crate) fn slow_us(&self) -> i64 {
        self.slow_us.load(Ordering::Relaxed)
    }

    /// Slow commands to keep.
    pub(crate) fn slow_entries(&self) -> usize {
        self.slow_entries.load(Ordering::Relaxed)
    }

    /// Milliseconds from which an event is noted; 0 means that none is.
    pub(crate) fn latency_threshold_ms(&self) -> u64 {
        self.latency_threshold_ms.load(Ordering::Relaxed)
    }
}

/// The configuration with what the server was really started with.
fn effective(config: &ServerConfig, [port, tls_port]: [u16; 2]) -> Configuration {
    let mut configuration = config.configuration.clone();
    let unix = config.unix_socket.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    for (name, text) in [
        ("bind", listening::format(&config.bind)),
        ("port", port.to_string()),
        ("tls-port", tls_port.to_string()),
        ("unixsocket", unix),
        ("dir", config.db.path().display().to_string()),
        ("durability", Level::of(config.durability).name().into()),
        ("requirepass", config.requirepass.clone().unwrap_or_default()),
        ("maxmemory", config.memory_bytes.to_string()),
        ("maxclients", config.max_clients.to_string()),
        ("timeout", config.idle_timeout.as_secs().to_string()),
        ("shutdown-timeout", config.shutdown_grace.as_secs().to_string()),
        ("proto-max-bulk-len", config.limits.bulk_bytes.to_string()),
        ("client-query-buffer-limit", config.query_buffer_bytes.to_string()),
    ] {
        configuration.note(name, &text);
    }
    configuration
}
