//! `CLIENT`: what clients may know and say about connections.

use std::sync::atomic::Ordering;

use terrace_resp::Args;

use super::keys::container_of;
use super::options::integer;
use super::table::{ADMIN, CONNECTION, Command, Flags, Handler, LOADING, NO_SCRIPT, STALE, by_index};
use super::{Flow, Handled, shorten, tracking, unknown_subcommand};
use crate::context::Context;
use crate::failure::{Failure, SYNTAX};
use crate::pause::Scope;
use crate::registry::ClientInfo;
use crate::session::Replies;
use crate::shared::Message;

const fn command(
    name: &'static str,
    arity: i64,
    flags: Flags,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "connection", since, run, summary).flags(flags | LOADING | NO_SCRIPT | STALE)
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] =
    &[container_of("client", "2.4.0", "A container for client connection commands.", SUBCOMMANDS)
        .categories(CONNECTION)];

const SUBCOMMANDS: &[Command] = &[
    command("id", 2, 0, "5.0.0", id, "Returns the unique client ID of the connection."),
    command("getname", 2, 0, "2.6.9", getname, "Returns the name of the connection."),
    command("setname", 3, 0, "2.6.9", setname, "Sets the connection name."),
    command("setinfo", 4, 0, "7.2.0", setinfo, "Sets information specific to the client or connection."),
    command("info", 2, 0, "6.2.0", info, "Returns information about the connection."),
    command("list", -2, ADMIN, "2.4.0", list, "Lists open connections."),
    command("kill", -3, ADMIN, "2.4.0", kill, "Terminates open connections."),
    command("reply", 3, 0, "3.2.0", reply, "Chooses which commands are answered."),
    command("pause", -3, ADMIN, "2.9.50", pause, "Has commands wait for a time."),
    command("unpause", 2, ADMIN, "6.2.0", unpause, "Lets commands run again."),
    command("unblock", -3, ADMIN, "5.0.0", unblock, "Ends the waiting of a blocked client; none ever is."),
    command(
        "no-evict",
        3,
        ADMIN,
        "7.0.0",
        no_evict,
        "Spares the client when clients are evicted; none ever is.",
    ),
    command("no-touch", 3, 0, "7.2.0", no_touch, "Has commands not count as uses of their keys."),
    command("tracking", -3, 0, "6.0.0", tracking::tracking, "Has invalidations sent for cached keys."),
    command("trackinginfo", 2, 0, "6.2.0", tracking::trackinginfo, "Returns what the connection tracks."),
    command("caching", 3, 0, "6.0.0", tracking::caching, "Tracks the keys of the next command, or does not."),
    command("getredir", 2, 0, "6.0.0", tracking::getredir, "Returns the client that gets the invalidations."),
];

/// Refuses text with blanks or anything unprintable.
pub(super) fn check_printable(text: &[u8], what: &str) -> Result<String, Failure> {
    if text.iter().all(u8::is_ascii_graphic) {
        return Ok(String::from_utf8_lossy(text).into_owned());
    }
    Err(Failure::text(format!("ERR {what} cannot contain spaces, newlines or special characters.")))
}

fn id(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.reply.unsigned(cx.session.info.id);
    Ok(Flow::Done)
}

fn getname(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    let name = cx.session.info.name();
    cx.reply.bulk_or_null((!name.is_empty()).then_some(name.as_bytes()));
    Ok(Flow::Done)
}

fn setname(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let name = check_printable(&args[2], "Client names")?;
    cx.session.info.set_name(&name);
    cx.reply.ok();
    Ok(Flow::Done)
}

fn setinfo(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (field, value) = (&args[2], &args[3]);
    if field.eq_ignore_ascii_case(b"lib-name") {
        cx.session.info.set_lib_name(&check_printable(value, "lib-name")?);
    } else if field.eq_ignore_ascii_case(b"lib-ver") {
        cx.session.info.set_lib_version(&check_printable(value, "lib-ver")?);
    } else {
        return Err(Failure::text(format!("ERR Unrecognized option '{}'", shorten(field, 128))));
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

pub(super) fn describe(cx: &Context<'_>, info: &ClientInfo) -> String {
    let command = by_index(info.command.load(Ordering::Relaxed)).map_or("NULL".into(), |parent| {
        let sub = usize::from(info.subcommand.load(Ordering::Relaxed));
        let sub = sub.checked_sub(1).and_then(|at| parent.subcommands.get(at));
        sub.map_or(parent.name.into(), |sub| format!("{}|{}", parent.name, sub.name))
    });
    let mut line = info.describe(cx.now_ms, &command);
    line.push('\n');
    line
}

fn info(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.session.show();
    let line = describe(cx, &cx.session.info);
    cx.reply.verbatim(&line);
    Ok(Flow::Done)
}

/// What kind of client is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Normal,
    Subscriber,
    /// Replicas and their masters, which do not exist here.
    Replication,
}

impl Type {
    fn parse(name: &[u8]) -> Result<Self, Failure> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Self::Normal),
            b"pubsub" => Ok(Self::Subscriber),
            b"master" | b"replica" | b"slave" => Ok(Self::Replication),
            _ => Err(Failure::text(format!("ERR Unknown client type '{}'", shorten(name, 128)))),
        }
    }

    fn of(client: &ClientInfo) -> Self {
        if client.is_subscriber() { Self::Subscriber } else { Self::Normal }
    }
}

fn list(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (mut ids, mut kind): (Option<Vec<i64>>, Option<Type>) = (None, None);
    match args.len() {
        2 => {}
        4 if args[2].eq_ignore_ascii_case(b"type") => kind = Some(Type::parse(&args[3])?),
        _ if args.len() > 3 && args[2].eq_ignore_ascii_case(b"id") => {
            let parse = |arg: &[u8]| integer(arg).map_err(|_| Failure::fixed("ERR Invalid client ID"));
            ids = Some(args.from(3).iter().map(parse).collect::<Result<_, _>>()?);
        }
        _ => return Err(SYNTAX),
    }
    cx.session.show();
    let mut text = String::new();
    for client in cx.shared.clients.all() {
        let id_matches = ids.as_ref().is_none_or(|ids| ids.contains(&(client.id as i64)));
        if id_matches && kind.is_none_or(|kind| kind == Type::of(&client)) {
            text.push_str(&describe(cx, &client));
        }
    }
    cx.reply.verbatim(&text);
    Ok(Flow::Done)
}

/// Which clients `CLIENT KILL` means.
#[derive(Default)]
struct Filter {
    id: Option<u64>,
    peer: Option<Vec<u8>>,
    local: Option<Vec<u8>>,
    kind: Option<Type>,
    user: Option<String>,
    /// Connected for so many milliseconds at least.
    min_age_ms: u64,
    spares_me: bool,
}

impl Filter {
    fn parse(cx: &Context<'_>, args: Args<'_>) -> Result<Self, Failure> {
        let mut filter = Self { spares_me: true, ..Self::default() };
        let mut rest = args.iter();
        while let Some(option) = rest.next() {
            let value = rest.next().ok_or(SYNTAX)?;
            match option.to_ascii_lowercase().as_slice() {
                b"id" => filter.id = Some(positive(value, "ERR client-id should be greater than 0")?),
                b"addr" => filter.peer = Some(value.to_vec()),
                b"laddr" => filter.local = Some(value.to_vec()),
                b"user" => filter.user = Some(user(cx, value)?),
                b"type" => filter.kind = Some(Type::parse(value)?),
                b"maxage" => {
                    integer(value).map_err(|_| MAXAGE_NO_NUMBER)?;
                    let seconds = positive(value, "ERR maxage should be greater than 0")?;
                    filter.min_age_ms = seconds.saturating_mul(1000);
                }
                b"skipme" => match value.to_ascii_lowercase().as_slice() {
                    b"yes" => filter.spares_me = true,
                    b"no" => filter.spares_me = false,
                    _ => return Err(SYNTAX),
                },
                _ => return Err(SYNTAX),
            }
        }
        Ok(filter)
    }

    fn accepts(&self, client: &ClientInfo, me: u64, now_ms: u64) -> bool {
        let same = |wanted: &Option<Vec<u8>>, address: &crate::stream::Address| {
            wanted.as_ref().is_none_or(|w| *w == address.to_string().as_bytes())
        };
        self.id.is_none_or(|id| id == client.id)
            && same(&self.peer, &client.peer)
            && same(&self.local, &client.local)
            && self.kind.is_none_or(|kind| kind == Type::of(client))
            && self.user.as_ref().is_none_or(|user| *user == client.user())
            && now_ms.saturating_sub(client.connected_at_ms) >= self.min_age_ms
            && !(self.spares_me && client.id == me)
    }
}

const MAXAGE_NO_NUMBER: Failure = Failure::fixed("ERR maxage is not an integer or out of range");

/// A user that exists, by the name that clients are shown with.
fn user(cx: &Context<'_>, name: &[u8]) -> Result<String, Failure> {
    let unknown = || Failure::text(format!("ERR No such user '{}'", shorten(name, 128)));
    Ok(cx.shared.users.find(name).ok_or_else(unknown)?.shown())
}

fn positive(value: &[u8], refusal: &'static str) -> Result<u64, Failure> {
    let number = integer(value).ok().and_then(|number| u64::try_from(number).ok());
    number.filter(|number| *number > 0).ok_or(Failure::fixed(refusal))
}

fn kill(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let old_form = args.len() == 3;
    let filter = if old_form {
        Filter { peer: Some(args[2].to_vec()), ..Filter::default() }
    } else {
        Filter::parse(cx, args.from(2))?
    };
    cx.session.show();
    let (me, now_ms) = (cx.session.info.id, cx.now_ms);
    let (mut killed, mut myself) = (0, false);
    for client in cx.shared.clients.all().iter().filter(|client| filter.accepts(client, me, now_ms)) {
        killed += 1;
        if client.id == me {
            myself = true;
        } else {
            cx.shared.loops[client.place().loop_index].send(Message::Kill(client.id));
        }
    }
    match (old_form, killed) {
        (true, 0) => return Err(Failure::fixed("ERR No such client")),
        (true, _) => cx.reply.ok(),
        (false, _) => cx.reply.integer(killed),
    }
    Ok(if myself { Flow::Close } else { Flow::Done })
}

fn on_or_off(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    if !args[2].eq_ignore_ascii_case(b"on") && !args[2].eq_ignore_ascii_case(b"off") {
        return Err(SYNTAX);
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

fn no_evict(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let handled = on_or_off(cx, args);
    if handled.is_ok() {
        cx.session.no_evict = args[2].eq_ignore_ascii_case(b"on");
    }
    handled
}

fn no_touch(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let handled = on_or_off(cx, args);
    if handled.is_ok() {
        cx.session.no_touch = args[2].eq_ignore_ascii_case(b"on");
    }
    handled
}

fn reply(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let replies = &mut cx.session.replies;
    match args[2].to_ascii_lowercase().as_slice() {
        b"on" => {
            *replies = Replies::On;
            cx.reply.ok();
        }
        b"off" => *replies = Replies::Off,
        b"skip" if *replies != Replies::Off => *replies = Replies::SkipNext,
        b"skip" => {}
        _ => return Err(SYNTAX),
    }
    Ok(Flow::Done)
}

fn pause(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let scope = match args.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"all") => Scope::All,
        Some(b"write") => Scope::Writes,
        Some(_) => return Err(Failure::fixed("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    if args.len() > 4 {
        return Err(unknown_subcommand("client", &args[1]));
    }
    let not_a_time = Failure::fixed("ERR timeout is not an integer or out of range");
    let milliseconds = integer(&args[2]).map_err(|_| not_a_time)?;
    let milliseconds = u64::try_from(milliseconds).map_err(|_| Failure::fixed("ERR timeout is negative"))?;
    let until_ms = cx.now_ms.saturating_add(milliseconds);
    cx.shared.pause.begin(scope, until_ms, cx.now_ms);
    tell_of_pause(cx);
    cx.reply.ok();
    Ok(Flow::Done)
}

fn unpause(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.shared.pause.end();
    tell_of_pause(cx);
    cx.reply.ok();
    Ok(Flow::Done)
}

fn tell_of_pause(cx: &Context<'_>) {
    cx.shared.loops.iter().for_each(|handle| handle.send(Message::PauseChanged));
}

/// No command here blocks its client for others to unblock it.
fn unblock(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    match args.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None | Some(b"timeout" | b"error") => {}
        Some(_) => return Err(Failure::fixed("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    }
    if args.len() > 4 {
        return Err(unknown_subcommand("client", &args[1]));
    }
    integer(&args[2])?;
    cx.reply.integer(0);
    Ok(Flow::Done)
}
