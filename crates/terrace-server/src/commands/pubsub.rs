//! Publish and subscribe.

use terrace_resp::{Args, Protocol};

use super::keys::container_of;
use super::table::{
    Command, FAST, Flags, Handler, Keys, LOADING, MAY_REPLICATE, NO_SCRIPT, NOT_KEY, PUBSUB, STALE,
    SUBSCRIBED,
};
use super::{Flow, Handled};
use crate::context::Context;
use crate::failure::Failure;
use crate::pubsub::{Kind, Name};

const fn command(
    name: &'static str,
    arity: i64,
    flags: Flags,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "pubsub", since, run, summary).flags(flags | PUBSUB | LOADING | STALE)
}

const LISTENS: Flags = NO_SCRIPT | SUBSCRIBED;
const SHARD: &[Keys] = &[Keys::at(1, NOT_KEY)];
const SHARDS: &[Keys] = &[Keys::from(1, NOT_KEY)];

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command("subscribe", -2, LISTENS, "2.0.0", subscribe, "Listens for messages published to channels."),
    command("unsubscribe", -1, LISTENS, "2.0.0", unsubscribe, "Stops listening to channels."),
    command("psubscribe", -2, LISTENS, "2.0.0", psubscribe, "Listens to the channels that match patterns."),
    command("punsubscribe", -1, LISTENS, "2.0.0", punsubscribe, "Stops listening to patterns."),
    command(
        "ssubscribe",
        -2,
        LISTENS,
        "7.0.0",
        ssubscribe,
        "Listens for messages published to shard channels.",
    )
    .keys(SHARDS),
    command("sunsubscribe", -1, LISTENS, "7.0.0", sunsubscribe, "Stops listening to shard channels.")
        .keys(SHARDS),
    command("publish", 3, FAST | MAY_REPLICATE, "2.0.0", publish, "Posts a message to a channel."),
    command("spublish", 3, FAST | MAY_REPLICATE, "7.0.0", spublish, "Posts a message to a shard channel.")
        .keys(SHARD),
    container_of("pubsub", "2.8.0", "A container for Pub/Sub commands.", SUBCOMMANDS),
];

const SUBCOMMANDS: &[Command] = &[
    command("channels", -2, 0, "2.8.0", channels, "Returns the active channels."),
    command("numsub", -2, 0, "2.8.0", numsub, "Returns the numbers of subscribers of channels."),
    command("numpat", 2, 0, "2.8.0", numpat, "Returns the number of patterns that clients listen to."),
    command("shardchannels", -2, 0, "7.0.0", shardchannels, "Returns the active shard channels."),
    command(
        "shardnumsub",
        -2,
        0,
        "7.0.0",
        shardnumsub,
        "Returns the numbers of subscribers of shard channels.",
    ),
];

fn subscribe(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    listen(cx, args, Kind::Channel, "subscribe")
}

fn psubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    listen(cx, args, Kind::Pattern, "psubscribe")
}

fn ssubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    listen(cx, args, Kind::Shard, "ssubscribe")
}

fn unsubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    stop_listening(cx, args, Kind::Channel, "unsubscribe")
}

fn punsubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    stop_listening(cx, args, Kind::Pattern, "punsubscribe")
}

fn sunsubscribe(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    stop_listening(cx, args, Kind::Shard, "sunsubscribe")
}

fn listen(cx: &mut Context<'_>, args: Args<'_>, kind: Kind, label: &str) -> Handled {
    let place = cx.session.place();
    for name in args.from(1).iter() {
        let name = Name::from(name);
        if cx.session.subscriptions.add(kind, &name) {
            cx.shared.hub.subscribe(kind, &name, place);
        } else if !cx.session.subscriptions.contains(kind, &name) {
            return Err(Failure::fixed("ERR a client subscribes to at most 1048576 channels and patterns"));
        }
        confirm(cx, kind, label, Some(&name));
    }
    Ok(Flow::Done)
}

fn stop_listening(cx: &mut Context<'_>, args: Args<'_>, kind: Kind, label: &str) -> Handled {
    let named = args.from(1).iter().map(Name::from).collect::<Vec<_>>();
    let names = if named.is_empty() { cx.session.subscriptions.names(kind) } else { named };
    for name in &names {
        if let Some(stored) = cx.session.subscriptions.remove(kind, name) {
            cx.shared.hub.unsubscribe(kind, &stored, cx.session.info.id);
        }
        confirm(cx, kind, label, Some(name));
    }
    if names.is_empty() {
        confirm(cx, kind, label, None);
    }
    Ok(Flow::Done)
}

/// Tells a client what it listens to now. This is a push, not a reply, so no `CLIENT REPLY` silences it.
fn confirm(cx: &mut Context<'_>, kind: Kind, label: &str, name: Option<&Name>) {
    let count = cx.session.subscriptions.counted_with(kind);
    cx.session.pushes = true;
    cx.reply.push(3);
    cx.reply.bulk(label.as_bytes());
    cx.reply.bulk_or_null(name.map(|name| &name[..]));
    cx.reply.integer(count as i64);
}

fn publish(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let receivers = cx.publish(Kind::Channel, &args[1], &args[2]);
    cx.reply.integer(receivers as i64);
    Ok(Flow::Done)
}

fn spublish(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let receivers = cx.publish(Kind::Shard, &args[1], &args[2]);
    cx.reply.integer(receivers as i64);
    Ok(Flow::Done)
}

fn channels(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    list(cx, args, Kind::Channel)
}

fn shardchannels(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    list(cx, args, Kind::Shard)
}

fn list(cx: &mut Context<'_>, args: Args<'_>, kind: Kind) -> Handled {
    if args.len() > 3 {
        return Err(super::unknown_subcommand("pubsub", &args[1]));
    }
    let names = cx.shared.hub.names(kind, args.get(2));
    cx.reply.array(names.len());
    for name in names {
        cx.reply.bulk(&name);
    }
    Ok(Flow::Done)
}

fn numsub(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    count(cx, args, Kind::Channel)
}

fn shardnumsub(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    count(cx, args, Kind::Shard)
}

fn count(cx: &mut Context<'_>, args: Args<'_>, kind: Kind) -> Handled {
    let names = args.from(2);
    cx.reply.array(2 * names.len());
    for name in names.iter() {
        cx.reply.bulk(name);
        cx.reply.integer(cx.shared.hub.listeners(kind, name) as i64);
    }
    Ok(Flow::Done)
}

fn numpat(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.reply.integer(cx.shared.hub.len(Kind::Pattern) as i64);
    Ok(Flow::Done)
}

/// The refusal of what a client of the old protocol may not do while it listens: it could not tell replies from
/// messages.
pub(super) fn check_context(cx: &Context<'_>, command: &Command, parent: &Command) -> Result<(), Failure> {
    let confined = cx.session.protocol == Protocol::Resp2 && !cx.session.subscriptions.is_empty();
    if !confined || command.has(SUBSCRIBED) || cx.many.is_some() {
        return Ok(());
    }
    let name = if std::ptr::eq(command, parent) {
        command.name.to_string()
    } else {
        format!("{}|{}", parent.name, command.name)
    };
    Err(Failure::text(format!(
        "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
         this context"
    )))
}
