//! `MEMORY`: where memory goes. Numbers of bytes are the process's and the store's own; there is no allocator to ask.

use terrace_resp::{Args, Encoder};

use super::info::human;
use super::keys::{container_of, memory_usage};
use super::table::{Command, Handler, NO_TOUCH, READ, READ_ONLY, SECOND};
use super::{Flow, Handled};
use crate::context::Context;
use crate::databases::COUNT;
use crate::system;

const fn command(name: &'static str, arity: i64, run: Handler, summary: &'static str) -> Command {
    Command::new(name, arity, "server", "4.0.0", run, summary)
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] =
    &[container_of("memory", "4.0.0", "A container for memory diagnostics commands.", SUBCOMMANDS)];

const SUBCOMMANDS: &[Command] = &[
    command("doctor", 2, doctor, "Returns how memory stands, in words."),
    command("malloc-stats", 2, malloc_stats, "Returns that the allocator tells nothing."),
    command("purge", 2, purge, "Accepted for compatibility; freed memory goes back by itself."),
    command("stats", 2, stats, "Returns details about memory usage."),
    command("usage", -3, memory_usage, "Estimates the memory usage of a key.")
        .flags(READ | NO_TOUCH)
        .keys(SECOND)
        .access(READ_ONLY),
];

fn doctor(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    let stats = cx.shared.databases.store().stats();
    let resident = system::resident_bytes();
    let memtables = stats.memtable.active_bytes + stats.memtable.sealed_bytes;
    let budget = cx.shared.config.memory_bytes;
    let mut text = format!(
        "The process has {} of memory: {} in memtables, {} in the cache.\n",
        human(resident),
        human(memtables),
        human(stats.cache.used_bytes)
    );
    if budget == 0 {
        text.push_str("The memory budget of the store is not known to the server.\n");
    } else if resident > budget.saturating_mul(2) {
        text.push_str(
            "That is more than twice the budget: look at the buffers of clients with CLIENT LIST.\n",
        );
    } else {
        text += "The budget of the store is ";
        text += &human(budget);
        text += ".\n";
    }
    cx.reply.verbatim(&text);
    Ok(Flow::Done)
}

fn malloc_stats(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.reply.verbatim("Stats not supported for the current allocator");
    Ok(Flow::Done)
}

fn purge(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.reply.ok();
    Ok(Flow::Done)
}

enum Number {
    Whole(u64),
    Share(f64),
}

fn stats(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.settle();
    let shared = cx.shared;
    let store = shared.databases.store().stats();
    let resident = system::resident_bytes();
    let peak = shared.overseer.peak_bytes().max(resident);
    let memtables = store.memtable.active_bytes + store.memtable.sealed_bytes;
    let clients: usize = shared.clients.all().iter().map(|client| client.buffered_bytes()).sum();
    let overhead = resident.saturating_sub(memtables + store.cache.used_bytes);
    let dataset = resident - overhead.min(resident);
    let keys = (0..COUNT)
        .filter_map(|db| shared.databases.find(db))
        .map(terrace::Keyspace::approximate_len)
        .sum::<u64>();
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 };
    let fields = [
        ("peak.allocated", Number::Whole(peak)),
        ("total.allocated", Number::Whole(resident)),
        ("startup.allocated", Number::Whole(shared.overseer.startup_bytes())),
        ("replication.backlog", Number::Whole(0)),
        ("clients.slaves", Number::Whole(0)),
        ("clients.normal", Number::Whole(clients as u64)),
        ("cluster.links", Number::Whole(0)),
        ("aof.buffer", Number::Whole(0)),
        ("lua.caches", Number::Whole(0)),
        ("functions.caches", Number::Whole(0)),
        ("overhead.total", Number::Whole(overhead)),
        ("keys.count", Number::Whole(keys)),
        ("keys.bytes-per-key", Number::Whole(dataset.checked_div(keys).unwrap_or(0))),
        ("dataset.bytes", Number::Whole(dataset)),
        ("dataset.percentage", Number::Share(share(dataset, resident))),
        ("peak.percentage", Number::Share(share(resident, peak))),
        ("fragmentation", Number::Share(1.0)),
        ("fragmentation.bytes", Number::Whole(0)),
    ];
    write(&mut cx.reply, &fields);
    Ok(Flow::Done)
}

fn write(reply: &mut Encoder<'_>, fields: &[(&str, Number)]) {
    reply.map(fields.len());
    for (name, number) in fields {
        reply.bulk(name.as_bytes());
        match number {
            Number::Whole(bytes) => reply.unsigned(*bytes),
            Number::Share(share) => reply.double(*share),
        }
    }
}
