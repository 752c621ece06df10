//! `CLIENT`: what clients may know and say about connections.

use std::sync::atomic::Ordering;

use terrace_resp::Args;

use super::keys::container_of;
use super::options::integer;
use super::table::{ADMIN, CONNECTION, Command, Flags, Handler, LOADING, NO_SCRIPT, STALE, by_index};
use super::{Flow, Handled, shorten};
use crate::context::Context;
use crate::failure::{Failure, SYNTAX};
use crate::registry::ClientInfo;
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
    command("no-evict", 3, ADMIN, "7.0.0", on_or_off, "Accepted for compatibility; does nothing."),
    command("no-touch", 3, 0, "7.2.0", on_or_off, "Accepted for compatibility; does nothing."),
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

fn describe(cx: &Context<'_>, info: &ClientInfo) -> String {
    let command = by_index(info.command.load(Ordering::Relaxed)).map_or("NULL", |c| c.name);
    let mut line = info.describe(cx.now_ms, command);
    line.push('\n');
    line
}

fn info(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    let line = describe(cx, &cx.session.info);
    cx.reply.verbatim(&line);
    Ok(Flow::Done)
}

fn list(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let mut ids: Option<Vec<u64>> = None;
    match args.len() {
        2 => {}
        4 if args[2].eq_ignore_ascii_case(b"type") => {
            let kind = args[3].to_ascii_lowercase();
            match kind.as_slice() {
                b"normal" => {}
                b"master" | b"replica" | b"slave" | b"pubsub" => ids = Some(Vec::new()),
                _ => {
                    let kind = shorten(&args[3], 128);
                    return Err(Failure::text(format!("ERR Unknown client type '{kind}'")));
                }
            }
        }
        _ if args.len() > 3 && args[2].eq_ignore_ascii_case(b"id") => {
            let parse = |arg: &[u8]| {
                let id = integer(arg).ok().and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
                id.ok_or(Failure::fixed("ERR Invalid client ID"))
            };
            ids = Some(args.from(3).iter().map(parse).collect::<Result<_, _>>()?);
        }
        _ => return Err(SYNTAX),
    }
    let mut text = String::new();
    for client in cx.shared.clients.all() {
        if ids.as_ref().is_none_or(|ids| ids.contains(&client.id)) {
            text.push_str(&describe(cx, &client));
        }
    }
    cx.reply.verbatim(&text);
    Ok(Flow::Done)
}

/// Which clients `CLIENT KILL` means.
struct Filter {
    id: Option<u64>,
    peer: Option<Vec<u8>>,
    local: Option<Vec<u8>>,
    nobody: bool,
    skip_me: bool,
}

impl Filter {
    fn parse(args: Args<'_>) -> Result<Self, Failure> {
        let mut filter = Self { id: None, peer: None, local: None, nobody: false, skip_me: true };
        let mut rest = args.iter();
        while let Some(option) = rest.next() {
            let value = rest.next().ok_or(SYNTAX)?;
            match option.to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = integer(value).ok().and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
                    filter.id = Some(id.ok_or(Failure::fixed("ERR client-id should be greater than 0"))?);
                }
                b"addr" => filter.peer = Some(value.to_vec()),
                b"laddr" => filter.local = Some(value.to_vec()),
                b"user" if value == b"default" => {}
                b"user" => {
                    let user = shorten(value, 128);
                    return Err(Failure::text(format!("ERR No such user '{user}'")));
                }
                b"type" => match value.to_ascii_lowercase().as_slice() {
                    b"normal" => {}
                    b"master" | b"replica" | b"slave" | b"pubsub" => filter.nobody = true,
                    _ => {
                        let kind = shorten(value, 128);
                        return Err(Failure::text(format!("ERR Unknown client type '{kind}'")));
                    }
                },
                b"skipme" => match value.to_ascii_lowercase().as_slice() {
                    b"yes" => filter.skip_me = true,
                    b"no" => filter.skip_me = false,
                    _ => return Err(SYNTAX),
                },
                _ => return Err(SYNTAX),
            }
        }
        Ok(filter)
    }

    fn accepts(&self, client: &ClientInfo, me: u64) -> bool {
        let same = |wanted: &Option<Vec<u8>>, address: std::net::SocketAddr| {
            wanted.as_ref().is_none_or(|w| *w == address.to_string().as_bytes())
        };
        !self.nobody
            && self.id.is_none_or(|id| id == client.id)
            && same(&self.peer, client.peer)
            && same(&self.local, client.local)
            && !(self.skip_me && client.id == me)
    }
}

fn kill(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let old_form = args.len() == 3;
    let filter = if old_form {
        let peer = Some(args[2].to_vec());
        Filter { id: None, peer, local: None, nobody: false, skip_me: false }
    } else {
        Filter::parse(args.from(2))?
    };
    let me = cx.session.info.id;
    let (mut killed, mut myself) = (0, false);
    for client in cx.shared.clients.all().iter().filter(|client| filter.accepts(client, me)) {
        killed += 1;
        if client.id == me {
            myself = true;
        } else {
            cx.shared.loops[client.loop_index].send(Message::Kill(client.id));
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
