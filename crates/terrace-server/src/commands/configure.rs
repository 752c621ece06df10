//! `CONFIG`: the few settings that exist, under the names that Redis has for them.
//!
//! A setting that could not take effect is refused rather than accepted and ignored.

use terrace_resp::Args;
use terrace_resp::number::parse_i64;

use super::keys::container_of;
use super::table::{ADMIN, Command, Handler, LOADING, NO_MULTI, NO_SCRIPT, STALE};
use super::{Flow, Handled, shorten};
use crate::context::Context;
use crate::failure::Failure;
use crate::glob;
use crate::notify;
use crate::settings::SubscriberLimits;
use crate::shared::{Message, Shared};

const fn command(
    name: &'static str,
    arity: i64,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "server", since, run, summary)
        .flags(ADMIN | NO_SCRIPT | LOADING | STALE | NO_MULTI)
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] =
    &[container_of("config", "2.0.0", "A container for server configuration commands.", SUBCOMMANDS)
        .flags(NO_MULTI)];

const SUBCOMMANDS: &[Command] = &[
    command("get", -3, "2.0.0", get, "Returns the effective values of configuration parameters."),
    command("set", -4, "2.0.0", set, "Sets configuration parameters in-flight."),
    command("resetstat", 2, "2.0.0", resetstat, "Resets the server's statistics."),
    command("rewrite", 2, "2.8.0", rewrite, "There is no configuration file to write to."),
];

/// One setting.
struct Setting {
    name: &'static str,
    get: fn(&Shared) -> String,
    /// Checks a value and returns what applies it; `None` for a setting that is fixed.
    set: Option<Check>,
}

/// A checked change.
type Change = Box<dyn FnOnce(&Shared)>;

/// Checks a value; refuses it with the reason.
type Check = fn(&[u8]) -> Result<Change, &'static str>;

const SETTINGS: &[Setting] = &[
    Setting {
        name: "active-expire-effort",
        get: |s| s.settings.expire_effort().to_string(),
        set: Some(set_expire_effort),
    },
    Setting { name: "appendfsync", get: append_fsync, set: None },
    Setting { name: "appendonly", get: |_| "yes".into(), set: Some(|value| accept_only(value, b"yes")) },
    Setting { name: "bind", get: |s| s.config.bind.to_string(), set: None },
    Setting { name: "client-output-buffer-limit", get: output_limits, set: Some(set_output_limits) },
    Setting { name: "databases", get: |_| crate::databases::COUNT.to_string(), set: None },
    Setting { name: "dir", get: |s| s.config.db.path().display().to_string(), set: None },
    Setting { name: "io-threads", get: |s| s.loops.len().to_string(), set: None },
    Setting { name: "maxclients", get: |s| s.settings.max_clients().to_string(), set: Some(set_max_clients) },
    Setting { name: "maxmemory", get: |_| "0".into(), set: Some(|value| accept_only(value, b"0")) },
    Setting {
        name: "maxmemory-policy",
        get: |_| "noeviction".into(),
        set: Some(|value| accept_only(value, b"noeviction")),
    },
    Setting {
        name: "notify-keyspace-events",
        get: |s| notify::format(s.settings.notify_classes()),
        set: Some(set_notify_classes),
    },
    Setting { name: "port", get: |s| s.local_addr.port().to_string(), set: None },
    Setting { name: "proto-max-bulk-len", get: |s| s.config.limits.bulk_bytes.to_string(), set: None },
    Setting { name: "requirepass", get: password, set: Some(set_password) },
    Setting { name: "save", get: |_| String::new(), set: Some(|value| accept_only(value, b"")) },
    Setting {
        name: "tracking-table-max-keys",
        get: |s| s.tracker.max_keys().to_string(),
        set: Some(set_tracking_max_keys),
    },
    Setting { name: "timeout", get: |s| s.settings.idle_timeout_s().to_string(), set: Some(set_timeout) },
];

fn append_fsync(shared: &Shared) -> String {
    (if shared.holds_replies() { "always" } else { "everysec" }).into()
}

fn password(shared: &Shared) -> String {
    shared.settings.password().map(|p| String::from_utf8_lossy(&p).into_owned()).unwrap_or_default()
}

fn accept_only(value: &[u8], only: &[u8]) -> Result<Change, &'static str> {
    if value.eq_ignore_ascii_case(only) {
        return Ok(Box::new(|_| {}));
    }
    Err("not supported by this server")
}

fn set_expire_effort(value: &[u8]) -> Result<Change, &'static str> {
    let effort = parse_i64(value).ok_or("argument couldn't be parsed into an integer")?;
    let effort = u64::try_from(effort).ok().filter(|n| (1..=10).contains(n));
    let effort = effort.ok_or("argument must be between 1 and 10 inclusive")?;
    Ok(Box::new(move |shared| shared.settings.set_expire_effort(effort)))
}

fn set_notify_classes(value: &[u8]) -> Result<Change, &'static str> {
    let classes = notify::parse(value).ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?;
    Ok(Box::new(move |shared| {
        shared.settings.set_notify_classes(classes);
        shared.watch.set_classes(classes);
    }))
}

fn set_tracking_max_keys(value: &[u8]) -> Result<Change, &'static str> {
    let keys = parse_i64(value).and_then(|n| usize::try_from(n).ok());
    let keys = keys.ok_or("argument couldn't be parsed into an integer")?;
    Ok(Box::new(move |shared| shared.tracker.set_max_keys(shared, keys)))
}

/// What `client-output-buffer-limit` shows: there is one hard limit for all clients, a narrower one for subscribers.
fn output_limits(shared: &Shared) -> String {
    let limits = shared.settings.subscriber_limits();
    let (all, hard, soft) = (shared.config.output_hard_bytes, limits.hard_bytes, limits.soft_bytes);
    format!("normal {all} 0 0 slave {all} 0 0 pubsub {hard} {soft} {}", limits.soft_s)
}

/// Takes groups of class, hard limit, soft limit, seconds; those of other classes than `pubsub` are fixed.
fn set_output_limits(value: &[u8]) -> Result<Change, &'static str> {
    const WRONG: &str = "Wrong number of arguments in buffer limit configuration.";
    const BAD: &str = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
    let text = String::from_utf8_lossy(value).to_ascii_lowercase();
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err(WRONG);
    }
    let mut chosen = None;
    for group in words.chunks_exact(4) {
        if !["normal", "slave", "replica", "pubsub"].contains(&group[0]) {
            return Err("Invalid client class specified in buffer limit configuration.");
        }
        let soft_s = group[3].parse().map_err(|_| BAD)?;
        let limits = SubscriberLimits {
            hard_bytes: bytes(group[1]).ok_or(BAD)?,
            soft_bytes: bytes(group[2]).ok_or(BAD)?,
            soft_s,
        };
        if group[0] == "pubsub" {
            chosen = Some(limits);
        }
    }
    Ok(Box::new(move |shared| {
        if let Some(limits) = chosen {
            shared.settings.set_subscriber_limits(limits);
        }
    }))
}

/// A number of bytes, perhaps with a unit.
fn bytes(text: &str) -> Option<usize> {
    const UNITS: [(&str, usize); 6] = [
        ("kb", 1 << 10),
        ("mb", 1 << 20),
        ("gb", 1 << 30),
        ("k", 1000),
        ("m", 1_000_000),
        ("g", 1_000_000_000),
    ];
    let unit = UNITS.iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, *size)));
    let (number, size) = unit.unwrap_or((text, 1));
    number.parse::<usize>().ok()?.checked_mul(size)
}

fn set_max_clients(value: &[u8]) -> Result<Change, &'static str> {
    let count = parse_i64(value).ok_or("argument couldn't be parsed into an integer")?;
    let count = usize::try_from(count).ok().filter(|n| (1..=1 << 20).contains(n));
    let count = count.ok_or("argument must be between 1 and 1048576 inclusive")?;
    Ok(Box::new(move |shared| shared.settings.set_max_clients(count)))
}

fn set_timeout(value: &[u8]) -> Result<Change, &'static str> {
    let seconds = parse_i64(value).ok_or("argument couldn't be parsed into an integer")?;
    let seconds = u64::try_from(seconds).ok().filter(|n| i32::try_from(*n).is_ok());
    let seconds = seconds.ok_or("argument must be between 0 and 2147483647 inclusive")?;
    Ok(Box::new(move |shared| {
        shared.settings.set_idle_timeout_s(seconds);
        // The loops may be sleeping without a time-out.
        shared.loops.iter().for_each(|handle| handle.wake());
    }))
}

fn set_password(value: &[u8]) -> Result<Change, &'static str> {
    let value = value.to_vec();
    Ok(Box::new(move |shared| shared.settings.set_password(&value)))
}

fn get(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let patterns: Vec<Vec<u8>> = args.from(2).iter().map(<[u8]>::to_ascii_lowercase).collect();
    let wanted = |setting: &&Setting| patterns.iter().any(|p| glob::matches(p, setting.name.as_bytes()));
    let found: Vec<&Setting> = SETTINGS.iter().filter(wanted).collect();
    cx.reply.map(found.len());
    for setting in found {
        cx.reply.bulk(setting.name.as_bytes());
        cx.reply.bulk((setting.get)(cx.shared).as_bytes());
    }
    Ok(Flow::Done)
}

/// Applies all of the changes or, if one is refused, none.
fn set(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    if !args.len().is_multiple_of(2) {
        return Err(Failure::arity("config|set"));
    }
    let mut changes = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (name, value) in args.from(2).iter().step_by(2).zip(args.from(3).iter().step_by(2)) {
        let found = SETTINGS.iter().find(|setting| name.eq_ignore_ascii_case(setting.name.as_bytes()));
        let shown = shorten(name, 128);
        let Some(setting) = found else {
            return Err(Failure::text(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{shown}'"
            )));
        };
        let refuse = |reason: &str| {
            Failure::text(format!(
                "ERR CONFIG SET failed (possibly related to argument '{shown}') - {reason}"
            ))
        };
        if names.contains(&setting.name) {
            return Err(refuse("duplicate parameter"));
        }
        names.push(setting.name);
        let check = setting.set.ok_or_else(|| refuse("can't set immutable config"))?;
        changes.push(check(value).map_err(refuse)?);
    }
    for apply in changes {
        apply(cx.shared);
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

fn resetstat(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    for handle in &cx.shared.loops {
        handle.send(Message::ResetMetrics);
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

fn rewrite(_: &mut Context<'_>, _: Args<'_>) -> Handled {
    Err(Failure::fixed("ERR The server is running without a config file"))
}
