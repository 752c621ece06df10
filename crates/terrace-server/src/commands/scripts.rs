//! Scripts and functions: there are none. What asks about them is answered as by a Redis with nothing loaded, so that
//! tools that look or tidy up go on; what would load or run one is refused.

use terrace_resp::Args;

use super::keys::container_of;
use super::table::{Command, Handler, LOADING, NO_SCRIPT, SCRIPTING, STALE};
use super::{Flow, Handled, shorten};
use crate::context::Context;
use crate::failure::Failure;

const fn command(
    name: &'static str,
    arity: i64,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "scripting", since, run, summary).flags(NO_SCRIPT | STALE).categories(SCRIPTING)
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command("eval", -3, "2.6.0", refuse, "Refused: the server runs no scripts."),
    command("eval_ro", -3, "7.0.0", refuse, "Refused: the server runs no scripts."),
    command("evalsha", -3, "2.6.0", no_script, "Finds no script: none can be loaded."),
    command("evalsha_ro", -3, "7.0.0", no_script, "Finds no script: none can be loaded."),
    command("fcall", -3, "7.0.0", no_function, "Finds no function: none can be loaded."),
    command("fcall_ro", -3, "7.0.0", no_function, "Finds no function: none can be loaded."),
    container_of("script", "2.6.0", "A container for Lua scripts management commands.", SCRIPT),
    container_of("function", "7.0.0", "A container for function commands.", FUNCTION),
];

const SCRIPT: &[Command] = &[
    command("exists", -3, "2.6.0", script_exists, "Answers 0 for every script: none is loaded."),
    command("flush", -2, "2.6.0", script_flush, "Does nothing: no script is loaded."),
    command("kill", 2, "2.6.0", not_busy, "Finds no script to end."),
    command("load", 3, "2.6.0", refuse, "Refused: the server runs no scripts."),
];

const FUNCTION: &[Command] = &[
    command("delete", 3, "7.0.0", no_library, "Finds no library: none is loaded."),
    command("dump", 2, "7.0.0", function_dump, "Returns the dump of no libraries."),
    command("flush", -2, "7.0.0", function_flush, "Does nothing: no library is loaded."),
    command("kill", 2, "7.0.0", not_busy, "Finds no function to end."),
    command("list", -2, "7.0.0", function_list, "Returns an empty list: no library is loaded."),
    command("load", -3, "7.0.0", refuse, "Refused: the server runs no functions."),
    command("restore", -3, "7.0.0", refuse, "Refused: the server runs no functions."),
    command("stats", 2, "7.0.0", function_stats, "Returns that nothing runs and nothing is loaded.")
        .flags(NO_SCRIPT | LOADING | STALE),
];

fn refuse(_: &mut Context<'_>, _: Args<'_>) -> Handled {
    Err(Failure::fixed(
        "ERR this server runs no scripts and no functions; a transaction (MULTI, EXEC, WATCH) is atomic here as well",
    ))
}

fn no_script(_: &mut Context<'_>, _: Args<'_>) -> Handled {
    Err(Failure::fixed("NOSCRIPT No matching script. Please use EVAL."))
}

fn no_function(_: &mut Context<'_>, _: Args<'_>) -> Handled {
    Err(Failure::fixed("ERR Function not found"))
}

fn no_library(_: &mut Context<'_>, _: Args<'_>) -> Handled {
    Err(Failure::fixed("ERR Library not found"))
}

fn not_busy(_: &mut Context<'_>, _: Args<'_>) -> Handled {
    Err(Failure::fixed("NOTBUSY No scripts in execution right now."))
}

fn script_exists(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    cx.reply.array(args.len() - 2);
    (2..args.len()).for_each(|_| cx.reply.integer(0));
    Ok(Flow::Done)
}

/// Whether the options are nothing, `ASYNC` or `SYNC`.
fn is_flush(args: Args<'_>) -> bool {
    match args.get(2) {
        None => true,
        Some(mode) => {
            args.len() == 3 && (mode.eq_ignore_ascii_case(b"async") || mode.eq_ignore_ascii_case(b"sync"))
        }
    }
}

fn script_flush(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    if !is_flush(args) {
        return Err(Failure::fixed("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

fn function_flush(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    if !is_flush(args) {
        return Err(Failure::fixed("ERR FUNCTION FLUSH only supports SYNC|ASYNC option"));
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

/// The dump of nothing: the version of the format (10) and the checksum of that.
fn function_dump(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.reply.bulk(&EMPTY_DUMP);
    Ok(Flow::Done)
}

const EMPTY_DUMP: [u8; 10] = [0x0a, 0x00, 0x5d, 0x9b, 0x5c, 0x40, 0x0f, 0x7f, 0xa2, 0xda];

fn function_list(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let mut options = args.from(2).iter();
    while let Some(option) = options.next() {
        if option.eq_ignore_ascii_case(b"libraryname") {
            options.next().ok_or(Failure::fixed("ERR library name argument was not given"))?;
        } else if !option.eq_ignore_ascii_case(b"withcode") {
            return Err(Failure::text(format!("ERR Unknown argument {}", shorten(option, 128))));
        }
    }
    cx.reply.array(0);
    Ok(Flow::Done)
}

fn function_stats(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.reply.map(2);
    cx.reply.bulk(b"running_script");
    cx.reply.null();
    cx.reply.bulk(b"engines");
    cx.reply.map(1);
    cx.reply.bulk(b"LUA");
    cx.reply.map(2);
    for field in ["libraries_count", "functions_count"] {
        cx.reply.bulk(field.as_bytes());
        cx.reply.integer(0);
    }
    Ok(Flow::Done)
}
