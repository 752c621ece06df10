//! `COMMAND`: what the command table says, for clients that look before they ask.

use terrace_resp::{Args, Encoder};

use super::table::{
    ACCESS_NAMES, ADMIN, ALLOW_BUSY, Access, BLOCKING, CONNECTION, Command, DENY_OOM, FAST, Flags, Handler,
    Keys, LOADING, NO_AUTH_NEEDED, NO_MANDATORY_KEYS, NO_MULTI, NO_SCRIPT, PUBSUB, READ, SKIP_MONITOR,
    SKIP_SLOWLOG, STALE, WRITE, all, as_one_range, category_names, find, find_category, full_name,
};
use super::{Flow, Handled};
use crate::context::Context;
use crate::failure::{Failure, SYNTAX};
use crate::glob;

const fn command(
    name: &'static str,
    arity: i64,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "server", since, run, summary).flags(LOADING | STALE)
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] =
    &[command("command", -1, "2.8.13", list_all, "Returns detailed information about all commands.")
        .categories(CONNECTION)
        .subcommands(SUBCOMMANDS)];

const SUBCOMMANDS: &[Command] = &[
    command("count", 2, "2.8.13", count, "Returns a count of commands.").categories(CONNECTION),
    command("docs", -2, "7.0.0", docs, "Returns documentary information about commands.")
        .categories(CONNECTION),
    command("info", -2, "2.8.13", info, "Returns information about commands.").categories(CONNECTION),
    command("list", -2, "7.0.0", list, "Returns a list of command names.").categories(CONNECTION),
    command("getkeys", -3, "2.8.13", getkeys, "Extracts the key names from an arbitrary command.")
        .categories(CONNECTION),
    command("getkeysandflags", -3, "7.0.0", getkeys_and_flags, "Extracts keys and what is done with them.")
        .categories(CONNECTION),
];

/// What `HELP` runs, for every command with subcommands.
pub(crate) static HELP: Command = command("help", 2, "5.0.0", help, "Returns the subcommands.");

/// Flags and their names.
const FLAGS: [(Flags, &str); 16] = [
    (WRITE, "write"),
    (READ, "readonly"),
    (DENY_OOM, "denyoom"),
    (ADMIN, "admin"),
    (PUBSUB, "pubsub"),
    (NO_SCRIPT, "noscript"),
    (BLOCKING, "blocking"),
    (LOADING, "loading"),
    (STALE, "stale"),
    (SKIP_MONITOR, "skip_monitor"),
    (SKIP_SLOWLOG, "skip_slowlog"),
    (FAST, "fast"),
    (NO_AUTH_NEEDED, "no_auth"),
    (NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (NO_MULTI, "no_multi"),
    (ALLOW_BUSY, "allow_busy"),
];

fn list_all(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.reply.array(all().len());
    for command in all() {
        describe(&mut cx.reply, command, None);
    }
    Ok(Flow::Done)
}

/// The ten elements of `COMMAND INFO`.
fn describe(reply: &mut Encoder<'_>, command: &Command, parent: Option<&Command>) {
    reply.array(10);
    reply.bulk(full_name(command, parent).as_bytes());
    reply.integer(command.arity);
    let flags = FLAGS.iter().filter(|(flag, _)| command.has(*flag)).map(|(_, name)| (*name).to_string());
    simple_set(reply, flags);
    let (first, last, step) = as_one_range(command.keys);
    for number in [first, last, step] {
        reply.integer(number);
    }
    simple_set(reply, category_names(command.acl).map(|name| format!("@{name}")));
    reply.set(0);
    reply.set(command.keys.len());
    for keys in command.keys {
        key_specification(reply, keys, command.access_to(keys));
    }
    if command.subcommands.is_empty() {
        reply.set(0);
        return;
    }
    reply.array(command.subcommands.len());
    for sub in command.subcommands {
        describe(reply, sub, Some(command));
    }
}

fn simple_set(reply: &mut Encoder<'_>, texts: impl Iterator<Item = String>) {
    let texts: Vec<String> = texts.collect();
    reply.set(texts.len());
    for text in texts {
        reply.simple(&text);
    }
}

fn access_set(reply: &mut Encoder<'_>, access: Access) {
    let names = ACCESS_NAMES.iter().filter(|(bit, _)| access & bit != 0).map(|(_, name)| (*name).to_string());
    simple_set(reply, names);
}

fn key_specification(reply: &mut Encoder<'_>, keys: &Keys, access: Access) {
    reply.map(3);
    reply.bulk(b"flags");
    access_set(reply, access);
    reply.bulk(b"begin_search");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"index");
    reply.bulk(b"spec");
    reply.map(1);
    reply.bulk(b"index");
    reply.integer(keys.first);
    reply.bulk(b"find_keys");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"range");
    reply.bulk(b"spec");
    reply.map(3);
    // A specification counts from its first key.
    let last = if keys.last < 0 { keys.last } else { keys.last - keys.first };
    for (name, value) in [("lastkey", last), ("keystep", keys.step), ("limit", 0)] {
        reply.bulk(name.as_bytes());
        reply.integer(value);
    }
}

fn count(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.reply.integer(all().len() as i64);
    Ok(Flow::Done)
}

/// Finds `name` or `parent|name`.
fn find_full(name: &[u8]) -> Option<(&'static Command, Option<&'static Command>)> {
    let Some(bar) = memchr::memchr(b'|', name) else { return find(name).map(|(_, c)| (c, None)) };
    let (_, parent) = find(&name[..bar])?;
    Some((parent.subcommand(&name[bar + 1..])?, Some(parent)))
}

fn info(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    if args.len() == 2 {
        return list_all(cx, args);
    }
    cx.reply.array(args.len() - 2);
    for name in args.from(2).iter() {
        match find_full(name) {
            Some((command, parent)) => describe(&mut cx.reply, command, parent),
            None => cx.reply.null(),
        }
    }
    Ok(Flow::Done)
}

fn docs(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let found: Vec<_> = if args.len() == 2 {
        all().iter().map(|command| (*command, None)).collect()
    } else {
        args.from(2).iter().filter_map(find_full).collect()
    };
    cx.reply.map(found.len());
    for (command, parent) in found {
        document(&mut cx.reply, command, parent);
    }
    Ok(Flow::Done)
}

fn document(reply: &mut Encoder<'_>, command: &Command, parent: Option<&Command>) {
    reply.bulk(full_name(command, parent).as_bytes());
    reply.map(3 + usize::from(!command.subcommands.is_empty()));
    let fields = [("summary", command.summary), ("since", command.since), ("group", command.group)];
    for (name, value) in fields {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    if !command.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(command.subcommands.len());
        for sub in command.subcommands {
            document(reply, sub, Some(command));
        }
    }
}

/// Chooses by what a command is and by its full name.
type Filter = Box<dyn Fn(&Command, &str) -> bool>;

fn list(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let filter: Filter = match args.len() {
        2 => Box::new(|_, _| true),
        5 if args[2].eq_ignore_ascii_case(b"filterby") => {
            let wanted = args[4].to_ascii_lowercase();
            match args[3].to_ascii_lowercase().as_slice() {
                b"pattern" => Box::new(move |_, name| glob::matches(&wanted, name.as_bytes())),
                b"aclcat" => {
                    let bit = find_category(&wanted).unwrap_or(0);
                    Box::new(move |command, _| command.acl & bit != 0)
                }
                b"module" => Box::new(|_, _| false),
                _ => return Err(SYNTAX),
            }
        }
        _ => return Err(SYNTAX),
    };
    let mut names = Vec::new();
    for parent in all() {
        names.extend(Some(parent.name.to_string()).filter(|name| filter(parent, name)));
        let help = (!parent.subcommands.is_empty()).then_some(&HELP);
        let subs = parent.subcommands.iter().chain(help);
        names.extend(
            subs.map(|sub| (sub, full_name(sub, Some(parent))))
                .filter(|(sub, name)| filter(sub, name))
                .map(|(_, name)| name),
        );
    }
    cx.reply.array(names.len());
    for name in names {
        cx.reply.bulk(name.as_bytes());
    }
    Ok(Flow::Done)
}

/// The keys of the command in the arguments after the second.
fn keys_of(args: Args<'_>) -> Result<Vec<(&[u8], Access)>, Failure> {
    const INVALID: Failure = Failure::fixed("ERR Invalid command specified");
    let given = args.from(2);
    let (_, mut command) = find(&given[0]).ok_or(INVALID)?;
    if !command.subcommands.is_empty()
        && let Some(name) = given.get(1)
    {
        command = command.subcommand(name).ok_or(INVALID)?;
    }
    if command.keys.is_empty() {
        return Err(Failure::fixed("ERR The command has no key arguments"));
    }
    if !command.accepts(given.len()) {
        return Err(Failure::fixed("ERR Invalid number of arguments specified for command"));
    }
    Ok(command.keys_in(given).filter_map(|(at, access)| given.get(at).map(|key| (key, access))).collect())
}

fn getkeys(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let keys = keys_of(args)?;
    cx.reply.array(keys.len());
    for (key, _) in keys {
        cx.reply.bulk(key);
    }
    Ok(Flow::Done)
}

fn getkeys_and_flags(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let keys = keys_of(args)?;
    cx.reply.array(keys.len());
    for (key, access) in keys {
        cx.reply.array(2);
        cx.reply.bulk(key);
        access_set(&mut cx.reply, access);
    }
    Ok(Flow::Done)
}

fn help(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (_, command) = find(&args[0]).ok_or(SYNTAX)?;
    let name = command.name.to_ascii_uppercase();
    cx.reply.array(1 + 2 * command.subcommands.len());
    cx.reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for sub in command.subcommands {
        cx.reply.simple(&sub.name.to_ascii_uppercase());
        cx.reply.simple(&format!("    {}", sub.summary));
    }
    Ok(Flow::Done)
}
