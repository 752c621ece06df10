//! What a client says about its own connection.

use terrace_resp::number::parse_i64;
use terrace_resp::{Args, Protocol};

use super::client::check_printable;
use super::options::database;
use super::table::{
    ALLOW_BUSY, ALONE, Command, FAST, Flags, Handler, LOADING, NEVER_QUEUED, NO_AUTH_NEEDED, NO_SCRIPT,
    STALE, SUBSCRIBED,
};
use super::{Flow, Handled, info, permission, shorten};
use crate::acl::{DEFAULT, Reason};
use crate::context::Context;
use crate::failure::Failure;

const fn command(
    name: &'static str,
    arity: i64,
    flags: Flags,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "connection", since, run, summary).flags(flags | FAST)
}

/// Works whatever state connection and store are in.
const ALWAYS: Flags = NO_AUTH_NEEDED | NO_SCRIPT | LOADING | STALE | ALLOW_BUSY;

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command("ping", -1, SUBSCRIBED, "1.0.0", ping, "Returns the server's liveliness response."),
    command("echo", 2, 0, "1.0.0", echo, "Returns the given string."),
    command("select", 2, LOADING | STALE, "1.0.0", select, "Changes the selected database."),
    command("auth", -2, ALWAYS, "1.0.0", auth, "Authenticates the connection."),
    command("hello", -1, ALWAYS | ALONE, "6.0.0", hello, "Handshakes with the server."),
    command("quit", -1, ALWAYS | NEVER_QUEUED | SUBSCRIBED, "1.0.0", quit, "Closes the connection."),
    command("reset", 1, ALWAYS | NEVER_QUEUED | SUBSCRIBED, "6.2.0", reset, "Resets the connection."),
];

fn ping(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    match args.len() {
        // A client of the old protocol that listens could not tell a simple reply from its messages.
        1 | 2 if cx.session.protocol == Protocol::Resp2 && !cx.session.subscriptions.is_empty() => {
            cx.reply.array(2);
            cx.reply.bulk(b"pong");
            cx.reply.bulk(args.get(1).unwrap_or_default());
        }
        1 => cx.reply.raw(b"+PONG\r\n"),
        2 => cx.reply.bulk(&args[1]),
        _ => return Err(Failure::arity("ping")),
    }
    Ok(Flow::Done)
}

fn echo(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    cx.reply.bulk(&args[1]);
    Ok(Flow::Done)
}

fn select(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    cx.session.db = database(&args[1])?;
    cx.reply.ok();
    Ok(Flow::Done)
}

const NO_PASSWORD_SET: Failure = Failure::fixed(
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
     configuration is correct?",
);
const WRONG_PASSWORD: Failure =
    Failure::fixed("WRONGPASS invalid username-password pair or user is disabled.");

fn auth(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    match args.len() {
        2 if cx.shared.users.default_user().rules().no_password => return Err(NO_PASSWORD_SET),
        2 => authenticate(cx, &args[0], DEFAULT, &args[1])?,
        3 => authenticate(cx, &args[0], &args[1], &args[2])?,
        _ => return Err(crate::failure::SYNTAX),
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Makes the connection this user, whose name and password came with `command`.
fn authenticate(cx: &mut Context<'_>, command: &[u8], name: &[u8], password: &[u8]) -> Result<(), Failure> {
    let Some(user) = cx.shared.users.authenticate(name, password) else {
        permission::log(cx, Reason::Auth, command.to_vec(), name);
        cx.metrics.auth_failures.add(1);
        let peer = &cx.session.info.peer;
        cx.session.penalty_ms = cx.shared.penalties.failed(peer, cx.now_ms);
        tracing::warn!(%peer, delay_ms = cx.session.penalty_ms, "wrong password");
        return Err(WRONG_PASSWORD);
    };
    cx.session.become_user(user, true);
    Ok(())
}

fn hello(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let mut protocol = cx.session.protocol;
    if let Some(version) = args.get(1) {
        let version = parse_i64(version)
            .ok_or(Failure::fixed("ERR Protocol version is not an integer or out of range"))?;
        protocol = match version {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err(Failure::fixed("NOPROTO unsupported protocol version")),
        };
    }
    let (mut name, mut login) = (None, None);
    let mut rest = args.from(2).iter();
    while let Some(option) = rest.next() {
        let left = rest.len();
        if option.eq_ignore_ascii_case(b"auth") && left >= 2 {
            login = Some((rest.next().unwrap_or_default(), rest.next().unwrap_or_default()));
        } else if option.eq_ignore_ascii_case(b"setname") && left >= 1 {
            let given = rest.next().unwrap_or_default();
            name = Some(check_printable(given, "Client names")?);
        } else {
            let option = shorten(option, 128);
            return Err(Failure::text(format!("ERR Syntax error in HELLO option '{option}'")));
        }
    }
    if let Some((user, password)) = login {
        authenticate(cx, &args[0], user, password)?;
    }
    if !cx.session.authenticated {
        return Err(Failure::fixed(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> \
             AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
             version at the same time",
        ));
    }
    if let Some(name) = name {
        cx.session.info.set_name(&name);
    }
    cx.session.protocol = protocol;
    cx.reply.set_protocol(protocol);
    greet(cx);
    Ok(Flow::Done)
}

/// The reply to `HELLO`. It names Redis because client libraries look for that.
fn greet(cx: &mut Context<'_>) {
    let id = cx.session.info.id as i64;
    let reply = &mut cx.reply;
    let version = if reply.protocol() == Protocol::Resp3 { 3 } else { 2 };
    reply.map(7);
    for (field, value) in [("server", "redis"), ("version", info::REDIS_VERSION)] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(version);
    reply.bulk(b"id");
    reply.integer(id);
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
}

fn quit(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.reply.ok();
    Ok(Flow::Close)
}

fn reset(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.shared.observation.monitors.remove(cx.session.info.id);
    cx.session.reset(cx.shared);
    cx.reply.set_protocol(Protocol::Resp2);
    cx.reply.simple("RESET");
    Ok(Flow::Done)
}
