//! `ACL`: users and what they may do; the rules themselves are in `acl`.

use std::path::PathBuf;

use terrace_resp::Args;

use super::keys::container_of;
use super::options::integer;
use super::table::{
    ADMIN, Command, Flags, Handler, LOADING, NO_MULTI, NO_SCRIPT, STALE, all, category_names, find_category,
    full_name, resolve,
};
use super::{Flow, Handled, find, permission, shorten};
use crate::acl::{DEFAULT, Selector, Target, changed, describe, has_spaces, hexadecimal, parts};
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
    Command::new(name, arity, "server", since, run, summary).flags(flags | NO_SCRIPT | LOADING | STALE)
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] =
    &[container_of("acl", "6.0.0", "A container for access control commands.", SUBCOMMANDS)];

const SUBCOMMANDS: &[Command] = &[
    command("cat", -2, 0, "6.0.0", cat, "Lists the categories, or the commands of a category."),
    command("deluser", -3, ADMIN, "6.0.0", deluser, "Deletes users, and ends their connections."),
    command("dryrun", -4, ADMIN, "7.0.0", dryrun, "Tells whether a user may run a command."),
    command("genpass", -2, 0, "6.0.0", genpass, "Makes a password that nobody can guess."),
    command("getuser", 3, ADMIN, "6.0.0", getuser, "Returns the rules of a user."),
    command("list", 2, ADMIN, "6.0.0", list, "Returns all users as a file of users has them."),
    command("load", 2, ADMIN | NO_MULTI, "6.0.0", load, "Reads the users from their file."),
    command("log", -2, ADMIN, "6.0.0", log, "Returns what was refused lately, or forgets it."),
    command("save", 2, ADMIN | NO_MULTI, "6.0.0", save, "Writes the users to their file."),
    command("setuser", -3, ADMIN, "6.0.0", setuser, "Makes or changes a user."),
    command("users", 2, ADMIN, "6.0.0", users, "Returns the names of all users."),
    command("whoami", 2, 0, "6.0.0", whoami, "Returns the name of this connection's user."),
];

/// Answers with a list.
fn texts(cx: &mut Context<'_>, texts: &[impl AsRef<[u8]>]) {
    cx.reply.array(texts.len());
    for text in texts {
        cx.reply.bulk(text.as_ref());
    }
}

fn cat(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    if args.len() > 3 {
        return Err(super::malformed_subcommand("acl", &args[1]));
    }
    let Some(name) = args.get(2) else {
        let names: Vec<&str> = category_names(u32::MAX).collect();
        texts(cx, &names);
        return Ok(Flow::Done);
    };
    let unknown = || Failure::text(format!("ERR Unknown category '{}'", shorten(name, 128)));
    let category = find_category(name).ok_or_else(unknown)?;
    let mut names = Vec::new();
    for command in all() {
        names.extend((command.acl & category != 0).then(|| command.name.to_string()));
        let fitting = parts(command).filter(|(_, part)| part.acl & category != 0);
        names.extend(fitting.map(|(_, part)| full_name(part, Some(command))));
    }
    texts(cx, &names);
    Ok(Flow::Done)
}

fn whoami(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.reply.bulk(cx.session.user.name());
    Ok(Flow::Done)
}

fn users(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    let names: Vec<Vec<u8>> = cx.shared.users.all().iter().map(|user| user.name().to_vec()).collect();
    texts(cx, &names);
    Ok(Flow::Done)
}

fn list(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    let lines: Vec<Vec<u8>> = cx.shared.users.all().iter().map(|user| describe(user)).collect();
    texts(cx, &lines);
    Ok(Flow::Done)
}

fn getuser(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let Some(user) = cx.shared.users.find(&args[2]) else {
        cx.reply.null();
        return Ok(Flow::Done);
    };
    let rules = user.rules();
    cx.reply.map(6);
    cx.reply.bulk(b"flags");
    let flags = rules.flags();
    cx.reply.set(flags.len());
    for flag in flags {
        cx.reply.bulk(flag.as_bytes());
    }
    cx.reply.bulk(b"passwords");
    texts(cx, &rules.passwords());
    let (own, further) = rules.selectors();
    fields(cx, own);
    cx.reply.bulk(b"selectors");
    cx.reply.array(further.len());
    for selector in further {
        cx.reply.map(3);
        fields(cx, selector);
    }
    Ok(Flow::Done)
}

fn fields(cx: &mut Context<'_>, selector: &Selector) {
    for (name, value) in [
        (&b"commands"[..], selector.describe_commands()),
        (b"keys", selector.describe_keys()),
        (b"channels", selector.describe_channels()),
    ] {
        cx.reply.bulk(name);
        cx.reply.bulk(&value);
    }
}

fn setuser(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let name = &args[2];
    if has_spaces(name) {
        return Err(Failure::fixed("ERR Usernames can't contain spaces or null characters"));
    }
    let given: Vec<&[u8]> = args.from(3).iter().collect();
    let every_channel = cx.shared.every_channel();
    let user = cx.shared.users.set(name, every_channel, |rules| changed(rules, &given));
    let user = user.map_err(|error| Failure::text(format!("ERR {error}")))?;
    if name == DEFAULT {
        cx.shared.users_agree_with_settings();
    }
    cx.shared.users_changed(&[user], cx.session.info.id);
    cx.reply.ok();
    Ok(Flow::Done)
}

fn deluser(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let mut gone = Vec::new();
    for name in args.from(2).iter() {
        if name == DEFAULT {
            cx.shared.users_changed(&gone, cx.session.info.id);
            return Err(Failure::fixed("ERR The 'default' user cannot be removed"));
        }
        gone.extend(cx.shared.users.delete(name));
    }
    cx.shared.users_changed(&gone, cx.session.info.id);
    cx.reply.integer(gone.len() as i64);
    Ok(Flow::Done)
}

fn dryrun(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let user = cx.shared.users.find(&args[2]);
    let user =
        user.ok_or_else(|| Failure::text(format!("ERR User '{}' not found", shorten(&args[2], 128))))?;
    let wanted = args.from(3);
    let unknown = || Failure::text(format!("ERR Command '{}' not found", shorten(&wanted[0], 128)));
    let (index, command) = find(&wanted[0]).ok_or_else(unknown)?;
    let runs = resolve(command, wanted);
    if !runs.accepts(wanted.len()) {
        let part = !std::ptr::eq(command, runs);
        return Err(Failure::arity(&full_name(runs, part.then_some(command))));
    }
    if !command.subcommands.is_empty() && std::ptr::eq(command, runs) && command.name != "command" {
        return Err(unknown());
    }
    let target = Target { index, command, runs };
    match user.rules().check(&target, wanted) {
        Ok(()) => cx.reply.ok(),
        Err(denial) => cx.reply.bulk(permission::in_words(&user, &target, wanted, denial).as_bytes()),
    }
    Ok(Flow::Done)
}

fn genpass(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    const MAX_BITS: i64 = 4096;
    let bits = match args.len() {
        2 => 256,
        3 => integer(&args[2])?,
        _ => return Err(super::malformed_subcommand("acl", &args[1])),
    };
    if !(1..=MAX_BITS).contains(&bits) {
        return Err(Failure::text(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {MAX_BITS}"
        )));
    }
    let digits = (bits as usize).div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| Failure::fixed("ERR the system has no random numbers to give"))?;
    cx.reply.bulk(&hexadecimal(&bytes).as_bytes()[..digits]);
    Ok(Flow::Done)
}

fn log(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    if args.len() > 3 {
        return Err(super::malformed_subcommand("acl", &args[1]));
    }
    let count = match args.get(2) {
        None => 10,
        Some(word) if word.eq_ignore_ascii_case(b"reset") => {
            cx.shared.users.log.clear();
            cx.reply.ok();
            return Ok(Flow::Done);
        }
        Some(number) => usize::try_from(integer(number)?).unwrap_or(0),
    };
    let (entries, now_ms) = (cx.shared.users.log.newest(count), cx.now_ms);
    cx.reply.array(entries.len());
    for entry in entries {
        let reply = &mut cx.reply;
        reply.map(10);
        reply.bulk(b"count");
        reply.unsigned(entry.count);
        for (name, value) in [
            (&b"reason"[..], entry.reason.name().as_bytes()),
            (b"context", if entry.in_multi { b"multi" } else { b"toplevel" }),
            (b"object", &entry.object),
            (b"username", &entry.user),
        ] {
            reply.bulk(name);
            reply.bulk(value);
        }
        reply.bulk(b"age-seconds");
        reply.double(now_ms.saturating_sub(entry.updated_ms) as f64 / 1000.0);
        reply.bulk(b"client-info");
        reply.bulk(entry.client.as_bytes());
        for (name, value) in [
            (&b"entry-id"[..], entry.id),
            (b"timestamp-created", entry.created_ms),
            (b"timestamp-last-updated", entry.updated_ms),
        ] {
            reply.bulk(name);
            reply.unsigned(value);
        }
    }
    Ok(Flow::Done)
}

/// The file of users.
fn file(cx: &Context<'_>) -> Result<PathBuf, Failure> {
    let path = cx.shared.settings.get("aclfile");
    (!path.is_empty()).then(|| PathBuf::from(path)).ok_or(Failure::fixed(
        "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL \
         SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order \
         to store users in the Redis configuration.",
    ))
}

fn load(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    let (path, me) = (file(cx)?, cx.session.info.id);
    Ok(Flow::Job(Box::new(move |shared, reply| {
        let loaded = shared.load_users(&path, me);
        loaded.map_err(|error| Failure::text(format!("ERR {error}")))?;
        tracing::info!(path = %path.display(), "users loaded");
        reply.ok();
        Ok(())
    })))
}

fn save(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    let path = file(cx)?;
    Ok(Flow::Job(Box::new(move |shared, reply| {
        if let Err(error) = shared.users.save(&path) {
            tracing::error!(%error, path = %path.display(), "cannot save the users");
            return Err(Failure::fixed(
                "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
            ));
        }
        reply.ok();
        Ok(())
    })))
}
