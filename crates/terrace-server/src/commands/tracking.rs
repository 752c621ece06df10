//! `CLIENT TRACKING` and what belongs to it.

use std::collections::BTreeSet;

use terrace_resp::Args;

use super::options::integer;
use super::{Flow, Handled, shorten};
use crate::context::Context;
use crate::failure::{Failure, SYNTAX};
use crate::tracking::Tracking;

/// The most prefixes of one client.
const MAX_PREFIXES: usize = 1 << 12;

/// Reads the options, up to what contradicts itself.
fn parse(cx: &Context<'_>, args: Args<'_>) -> Result<Tracking, Failure> {
    let mut options = Tracking { on: true, ..Tracking::default() };
    let mut prefixes: Vec<&[u8]> = Vec::new();
    let mut rest = args.iter();
    while let Some(option) = rest.next() {
        let more = rest.len() > 0;
        match option.to_ascii_lowercase().as_slice() {
            b"redirect" if more => {
                if options.redirect != 0 {
                    return Err(Failure::fixed("ERR A client can only redirect to a single other client"));
                }
                let id = integer(rest.next().ok_or(SYNTAX)?)?;
                options.redirect = u64::try_from(id)
                    .ok()
                    .filter(|id| cx.shared.clients.place(*id).is_some())
                    .ok_or(Failure::fixed("ERR The client ID you want redirect to does not exist"))?;
            }
            b"bcast" => options.broadcast = true,
            b"optin" => options.opt_in = true,
            b"optout" => options.opt_out = true,
            b"noloop" => options.no_loop = true,
            b"prefix" if more => prefixes.extend(rest.next()),
            _ => return Err(SYNTAX),
        }
    }
    check(&cx.session.tracking, &options, &prefixes)?;
    if options.broadcast {
        check_prefixes(&cx.session.tracking.prefixes, &prefixes)?;
        options.prefixes.clone_from(&cx.session.tracking.prefixes);
        options.prefixes.extend(prefixes.iter().map(|prefix| prefix.to_vec()));
        if prefixes.is_empty() {
            options.prefixes.insert(Vec::new());
        }
    }
    Ok(options)
}

/// Refuses what does not go together, or not with what is in force.
fn check(old: &Tracking, new: &Tracking, prefixes: &[&[u8]]) -> Result<(), Failure> {
    if !prefixes.is_empty() && !new.broadcast {
        return Err(Failure::fixed("ERR PREFIX option requires BCAST mode to be enabled"));
    }
    if old.on && old.broadcast != new.broadcast {
        return Err(Failure::fixed(
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then \
             re-enabling it with a different mode.",
        ));
    }
    if new.broadcast && (new.opt_in || new.opt_out) {
        return Err(Failure::fixed("ERR OPTIN and OPTOUT are not compatible with BCAST"));
    }
    if new.opt_in && new.opt_out {
        return Err(Failure::fixed("ERR You can't specify both OPTIN mode and OPTOUT mode"));
    }
    if (new.opt_in && old.opt_out) || (new.opt_out && old.opt_in) {
        return Err(Failure::fixed(
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
             re-enabling it with a different mode.",
        ));
    }
    Ok(())
}

/// Refuses prefixes of which one begins with another: a key would be announced twice.
fn check_prefixes(old: &BTreeSet<Vec<u8>>, new: &[&[u8]]) -> Result<(), Failure> {
    if old.len() + new.len() > MAX_PREFIXES {
        return Err(Failure::text(format!("ERR a client tracks at most {MAX_PREFIXES} prefixes")));
    }
    let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
    for (at, prefix) in new.iter().enumerate() {
        let refuse = |which: &str, other: &[u8]| {
            let (prefix, other) = (shorten(prefix, 128), shorten(other, 128));
            Failure::text(format!(
                "ERR Prefix '{prefix}' overlaps with {which} prefix '{other}'. Prefixes for a single client must \
                 not overlap."
            ))
        };
        if let Some(other) = old.iter().find(|other| overlap(other, prefix)) {
            return Err(refuse("an existing", other));
        }
        if let Some(other) = new[at + 1..].iter().find(|other| overlap(other, prefix)) {
            return Err(refuse("another provided", other));
        }
    }
    Ok(())
}

pub(super) fn tracking(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let on = args[2].eq_ignore_ascii_case(b"on");
    if !on && !args[2].eq_ignore_ascii_case(b"off") {
        return Err(SYNTAX);
    }
    if on {
        let options = parse(cx, args.from(3))?;
        cx.session.tracking = options.clone();
        cx.shared.tracker.enable(cx.shared, cx.session.place(), options);
    } else {
        cx.shared.tracker.disable(cx.shared, cx.session.info.id);
        cx.session.tracking = Tracking::default();
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

pub(super) fn caching(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let tracking = &mut cx.session.tracking;
    if !tracking.on {
        return Err(Failure::fixed(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
             enabled",
        ));
    }
    match args[2].to_ascii_lowercase().as_slice() {
        b"yes" if !tracking.opt_in => Err(Failure::fixed(
            "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
        )),
        b"no" if !tracking.opt_out => Err(Failure::fixed(
            "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
        )),
        b"yes" | b"no" => {
            tracking.caching = true;
            cx.reply.ok();
            Ok(Flow::Done)
        }
        _ => Err(SYNTAX),
    }
}

/// The client that gets the invalidations; 0 for this one, -1 for none.
fn redirect(cx: &Context<'_>) -> i64 {
    if cx.session.tracking.on { cx.session.tracking.redirect as i64 } else { -1 }
}

pub(super) fn getredir(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.reply.integer(redirect(cx));
    Ok(Flow::Done)
}

pub(super) fn trackinginfo(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    let (redirect, tracking) = (redirect(cx), &cx.session.tracking);
    let flags = [
        (tracking.on, "on"),
        (!tracking.on, "off"),
        (tracking.broadcast, "bcast"),
        (tracking.opt_in, "optin"),
        (tracking.opt_in && tracking.caching, "caching-yes"),
        (tracking.opt_out, "optout"),
        (tracking.opt_out && tracking.caching, "caching-no"),
        (tracking.no_loop, "noloop"),
        (tracking.broken, "broken_redirect"),
    ];
    let flags: Vec<&str> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    let reply = &mut cx.reply;
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    for flag in flags {
        reply.bulk(flag.as_bytes());
    }
    reply.bulk(b"redirect");
    reply.integer(redirect);
    reply.bulk(b"prefixes");
    reply.array(tracking.prefixes.len());
    for prefix in &tracking.prefixes {
        reply.bulk(prefix);
    }
    Ok(Flow::Done)
}
