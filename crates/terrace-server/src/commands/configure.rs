//! `CONFIG`: reading and changing parameters by name; what they are is in `parameters`.
//!
//! A change of several parameters is made as a whole or not at all.

use std::sync::atomic::Ordering;

use terrace_resp::Args;

use super::keys::container_of;
use super::table::{ADMIN, ALONE, Command, Handler, LOADING, NO_MULTI, NO_SCRIPT, STALE};
use super::{Flow, Handled, shorten};
use crate::context::Context;
use crate::durability::Level;
use crate::failure::Failure;
use crate::glob;
use crate::parameters::{self, Change, Parameter};
use crate::shared::{Message, Shared};
use crate::tls::Files;

const fn command(
    name: &'static str,
    arity: i64,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "server", since, run, summary)
        .flags(ADMIN | NO_SCRIPT | LOADING | STALE | ALONE)
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] =
    &[container_of("config", "2.0.0", "A container for server configuration commands.", SUBCOMMANDS)];

const SUBCOMMANDS: &[Command] = &[
    command("get", -3, "2.0.0", get, "Returns the effective values of configuration parameters."),
    command("set", -4, "2.0.0", set, "Sets configuration parameters in-flight."),
    command("resetstat", 2, "2.0.0", resetstat, "Resets the server's statistics."),
    command("rewrite", 2, "2.8.0", rewrite, "Writes the configuration into its file.").flags(NO_MULTI),
];

/// The parameters that a pattern finds, under the name by which it found them. An exact name also finds the hidden.
fn found_by(pattern: &str) -> Vec<(&'static str, &'static Parameter)> {
    let is_glob = pattern.contains(['*', '?', '[']);
    let names = |parameter: &'static Parameter| {
        std::iter::once(parameter.name).chain(parameter.alias).map(move |name| (name, parameter))
    };
    let fits = |(name, parameter): &(&'static str, &'static Parameter)| {
        if is_glob {
            !parameter.is_hidden() && glob::matches(pattern.as_bytes(), name.as_bytes())
        } else {
            *name == pattern
        }
    };
    parameters::all().flat_map(names).filter(fits).collect()
}

fn get(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let mut found: Vec<(&str, &Parameter)> = Vec::new();
    for pattern in args.from(2).iter() {
        let pattern = String::from_utf8_lossy(pattern).to_ascii_lowercase();
        for (name, parameter) in found_by(&pattern) {
            if !found.iter().any(|(known, _)| *known == name) {
                found.push((name, parameter));
            }
        }
    }
    let configuration = cx.shared.settings.configuration();
    cx.reply.map(found.len());
    for (name, parameter) in found {
        cx.reply.bulk(name.as_bytes());
        cx.reply.bulk(configuration.get(parameter.name).as_bytes());
    }
    Ok(Flow::Done)
}

/// Applies all of the changes or, if one is refused, none.
fn set(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    if !args.len().is_multiple_of(2) {
        return Err(Failure::arity("config|set"));
    }
    let mut given: Vec<(String, &'static Parameter, String)> = Vec::new();
    for (name, value) in args.from(2).iter().step_by(2).zip(args.from(3).iter().step_by(2)) {
        let name = shorten(name, 128);
        let Some(parameter) = parameters::find(&name) else {
            return Err(Failure::text(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
            )));
        };
        if given.iter().any(|(_, known, _)| known.name == parameter.name) {
            return Err(refusal(&name, "duplicate parameter"));
        }
        given.push((name, parameter, String::from_utf8_lossy(value).into_owned()));
    }
    let mut changes = Vec::new();
    for (name, parameter, text) in given {
        let text = check(cx.shared, parameter, &text).map_err(|reason| refusal(&name, &reason))?;
        changes.push((parameter, text));
    }
    change_tls(cx.shared, &changes)?;
    if let Err(refused) = change_listening(cx.shared, &changes) {
        // All or nothing: back to the files that were in use.
        change_tls(cx.shared, &[])
            .unwrap_or_else(|error| tracing::error!(error = %error.line(), "TLS files"));
        return Err(refused);
    }
    cx.shared.settings.change(&changes);
    if let Some((_, password)) = changes.iter().find(|(parameter, _)| parameter.name == "requirepass") {
        cx.shared.users.set_default_password(password.as_bytes());
    }
    cx.shared.settings_changed();
    // The loops may be sleeping without a time-out.
    cx.shared.loops.iter().for_each(|handle| handle.wake());
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Loads other TLS files, if there is a port for it. What cannot be loaded refuses the change as a whole.
fn change_tls(shared: &Shared, changes: &[(&'static Parameter, String)]) -> Result<(), Failure> {
    let first = changes.iter().find(|(parameter, _)| parameter.name.starts_with("tls-"));
    let (Some(first), Some((_, tls))) =
        (first.map_or(changes.is_empty().then_some("tls"), |(first, _)| Some(first.name)), &shared.tls)
    else {
        return Ok(());
    };
    let mut wanted = shared.settings.configuration();
    for (parameter, text) in changes {
        wanted.store(parameter, text);
    }
    tls.change(Files::of(&wanted)).map_err(|reason| {
        refusal(first, &format!("Unable to update TLS configuration. Check server logs. ({reason})"))
    })
}

/// Listens elsewhere, if that was asked for.
fn change_listening(shared: &Shared, changes: &[(&'static Parameter, String)]) -> Result<(), Failure> {
    let now = shared.settings.configuration();
    let moves = |(parameter, text): &&(&'static Parameter, String)| {
        matches!(parameter.name, "port" | "bind") && now.get(parameter.name) != text
    };
    let Some((first, _)) = changes.iter().find(moves) else { return Ok(()) };
    let mut wanted = now.clone();
    for (parameter, text) in changes {
        wanted.store(parameter, text);
    }
    shared.listen_as(&wanted).map_err(|reason| {
        let what = if first.name == "port" {
            "Unable to listen on this port"
        } else {
            "Failed to bind to specified addresses"
        };
        refusal(first.name, &format!("{what}. ({reason})"))
    })
}

fn refusal(name: &str, reason: &str) -> Failure {
    Failure::text(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"))
}

/// Checks a new value. What cannot change any more may still be set to what it is.
fn check(shared: &Shared, parameter: &Parameter, text: &str) -> Result<String, String> {
    let immutable = "can't set immutable config";
    let text = match (parameter.kind.check(text), parameter.change) {
        (Err(_), Change::AtStart) => return Err(immutable.into()),
        (checked, _) => checked?,
    };
    if parameter.change == Change::AtStart && shared.settings.get(parameter.name) != text {
        return Err(immutable.into());
    }
    let level = match (parameter.name, text.as_str()) {
        ("durability", name) => Level::parse(name.as_bytes()),
        ("appendfsync", "always") => Some(Level::Sync),
        ("appendfsync", "everysec") => Some(Level::Interval),
        // A store without a log answers `no` as well, and may be told so.
        ("appendfsync", _) if shared.store_level() > Level::Memory => Some(Level::Process),
        _ => None,
    };
    level.and_then(|level| level.refusal(shared.store_level())).map_or(Ok(text), Err)
}

fn resetstat(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    // This loop forgets at once, so that a client who asks next sees what came after; the others when they look up.
    cx.metrics.reset();
    for (index, handle) in cx.shared.loops.iter().enumerate() {
        if index != cx.session.place().loop_index {
            handle.send(Message::ResetMetrics);
        }
    }
    cx.shared.expired_keys.store(0, Ordering::Relaxed);
    cx.shared.expired_fields.store(0, Ordering::Relaxed);
    cx.reply.ok();
    Ok(Flow::Done)
}

fn rewrite(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.settle();
    let configuration = cx.shared.settings.configuration();
    if configuration.file().is_none() {
        return Err(Failure::fixed("ERR The server is running without a config file"));
    }
    Ok(Flow::Job(Box::new(move |_, reply| {
        configuration
            .rewrite()
            .map_err(|error| Failure::text(format!("ERR Rewriting config file: {error}")))?;
        tracing::info!("the configuration file was rewritten");
        reply.ok();
        Ok(())
    })))
}
