//! `COMMAND`: what the command table says, for clients that look before they ask.

use terrace_resp::{Args, Encoder};

use super::table::{
    ADMIN, BLOCKING, Command, DANGEROUS, DENY_OOM, FAST, Handler, Keys, LOADING, NO_AUTH_NEEDED, NO_KEYS,
    NO_MULTI, NO_SCRIPT, READ, WRITE, all, find,
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
    Command {
        name,
        arity,
        flags: LOADING,
        keys: NO_KEYS,
        group: "server",
        since,
        summary,
        run,
        subcommands: &[],
    }
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[Command {
    subcommands: SUBCOMMANDS,
    ..command("command", -1, "2.8.13", list_all, "Returns detailed information about all commands.")
}];

const SUBCOMMANDS: &[Command] = &[
    command("count", 2, "2.8.13", count, "Returns a count of commands."),
    command("docs", -2, "7.0.0", docs, "Returns documentary information about commands."),
    command("info", -2, "2.8.13", info, "Returns information about commands."),
    command("list", -2, "7.0.0", list, "Returns a list of command names."),
    command("getkeys", -3, "2.8.13", getkeys, "Extracts the key names from an arbitrary command."),
];

/// What `HELP` runs, for every command with subcommands.
pub(super) static HELP: Command = command("help", 2, "5.0.0", help, "Returns the subcommands.");

/// Flags and their names.
const FLAGS: [(u16, &str); 10] = [
    (WRITE, "write"),
    (READ, "readonly"),
    (DENY_OOM, "denyoom"),
    (ADMIN, "admin"),
    (NO_SCRIPT, "noscript"),
    (BLOCKING, "blocking"),
    (LOADING, "loading"),
    (FAST, "fast"),
    (NO_AUTH_NEEDED, "no_auth"),
    (NO_MULTI, "no_multi"),
];

fn list_all(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.reply.array(all().len());
    for command in all() {
        describe(&mut cx.reply, command, None);
    }
    Ok(Flow::Done)
}

fn full_name(command: &Command, parent: Option<&Command>) -> String {
    parent.map_or_else(|| command.name.to_string(), |parent| format!("{}|{}", parent.name, command.name))
}

/// The ten elements of `COMMAND INFO`.
fn describe(reply: &mut Encoder<'_>, command: &Command, parent: Option<&Command>) {
    reply.array(10);
    reply.bulk(full_name(command, parent).as_bytes());
    reply.integer(command.arity);
    let flags: Vec<&str> = FLAGS.iter().filter(|(flag, _)| command.has(*flag)).map(|(_, n)| *n).collect();
    simple_set(reply, &flags);
    let Keys { first, last, step } = command.keys;
    for number in [first, last, step] {
        reply.integer(number);
    }
    simple_set(reply, &categories(command));
    reply.array(0);
    if command.keys == NO_KEYS {
        reply.array(0);
    } else {
        reply.array(1);
        key_specification(reply, command);
    }
    reply.array(command.subcommands.len());
    for sub in command.subcommands {
        describe(reply, sub, Some(command));
    }
}

fn simple_set(reply: &mut Encoder<'_>, texts: &[&str]) {
    reply.set(texts.len());
    for text in texts {
        reply.simple(text);
    }
}

fn categories(command: &Command) -> Vec<&'static str> {
    let mut categories = Vec::new();
    match command.group {
        "string" => categories.push("@string"),
        "bitmap" => categories.push("@bitmap"),
        "hash" => categories.push("@hash"),
        "generic" => categories.push("@keyspace"),
        "connection" => categories.push("@connection"),
        "transactions" => categories.push("@transaction"),
        _ => {}
    }
    let by_flag = [
        (WRITE, "@write"),
        (READ, "@read"),
        (ADMIN, "@admin"),
        (DANGEROUS, "@dangerous"),
        (BLOCKING, "@blocking"),
    ];
    categories.extend(by_flag.iter().filter(|(flag, _)| command.has(*flag)).map(|(_, name)| *name));
    categories.push(if command.has(FAST) { "@fast" } else { "@slow" });
    categories
}

fn key_specification(reply: &mut Encoder<'_>, command: &Command) {
    reply.map(3);
    reply.bulk(b"flags");
    let access: [&str; 2] = if command.has(WRITE) { ["RW", "update"] } else { ["RO", "access"] };
    simple_set(reply, &access);
    reply.bulk(b"begin_search");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"index");
    reply.bulk(b"spec");
    reply.map(1);
    reply.bulk(b"index");
    reply.integer(command.keys.first);
    reply.bulk(b"find_keys");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"range");
    reply.bulk(b"spec");
    reply.map(3);
    let Keys { first, last, step } = command.keys;
    // A specification counts from its first key.
    let last = if last < 0 { last } else { last - first };
    for (name, value) in [("lastkey", last), ("keystep", step), ("limit", 0)] {
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
    let sub = parent.subcommands.iter().find(|s| name[bar + 1..].eq_ignore_ascii_case(s.name.as_bytes()))?;
    Some((sub, Some(parent)))
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

fn list(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let names: Vec<&str> = match args.len() {
        2 => all().iter().map(|command| command.name).collect(),
        5 if args[2].eq_ignore_ascii_case(b"filterby") => {
            let wanted = args[4].to_ascii_lowercase();
            let filter: Box<dyn Fn(&Command) -> bool> = match args[3].to_ascii_lowercase().as_slice() {
                b"pattern" => Box::new(move |command| glob::matches(&wanted, command.name.as_bytes())),
                b"aclcat" => Box::new(move |command| {
                    categories(command).iter().any(|category| category.as_bytes()[1..] == *wanted)
                }),
                b"module" => Box::new(|_| false),
                _ => return Err(SYNTAX),
            };
            all().iter().filter(|command| filter(command)).map(|command| command.name).collect()
        }
        _ => return Err(SYNTAX),
    };
    cx.reply.array(names.len());
    for name in names {
        cx.reply.bulk(name.as_bytes());
    }
    Ok(Flow::Done)
}

fn getkeys(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let given = args.from(2);
    let (_, mut command) = find(&given[0]).ok_or(Failure::fixed("ERR Invalid command specified"))?;
    if !command.subcommands.is_empty()
        && let Some(name) = given.get(1)
    {
        let sub = command.subcommands.iter().find(|s| name.eq_ignore_ascii_case(s.name.as_bytes()));
        command = sub.ok_or(Failure::fixed("ERR Invalid command specified"))?;
    }
    if command.keys == NO_KEYS {
        return Err(Failure::fixed("ERR The command has no key arguments"));
    }
    if !command.accepts(given.len()) {
        return Err(Failure::fixed("ERR Invalid number of arguments specified for command"));
    }
    let Keys { first, last, step } = command.keys;
    let last = if last < 0 { given.len() as i64 + last } else { last };
    let keys: Vec<&[u8]> =
        (first..=last).step_by(step.max(1) as usize).filter_map(|at| given.get(at as usize)).collect();
    cx.reply.array(keys.len());
    for key in keys {
        cx.reply.bulk(key);
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
