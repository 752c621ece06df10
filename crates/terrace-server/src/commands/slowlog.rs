//! `SLOWLOG`, `LATENCY`, `MONITOR`: what the server has noted about commands, and watching them run.

use terrace_resp::{Args, Encoder};

use super::keys::container_of;
use super::options::integer;
use super::table::{ADMIN, Command, Handler, LOADING, NO_MULTI, NO_SCRIPT, STALE, all, full_name};
use super::{Flow, Handled, shorten};
use crate::context::Context;
use crate::failure::Failure;
use crate::histogram::Merged;
use crate::observe::{Event, SlowEntry, Watcher};

const fn command(
    name: &'static str,
    arity: i64,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "server", since, run, summary).flags(ADMIN | LOADING | STALE)
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    container_of("slowlog", "2.2.12", "A container for slow log commands.", SLOWLOG),
    container_of("latency", "2.8.13", "A container for latency diagnostics commands.", LATENCY),
    command("monitor", 1, "1.0.0", monitor, "Shows every command that the server runs, as it runs.")
        .flags(ADMIN | NO_SCRIPT | LOADING | STALE | NO_MULTI),
];

const SLOWLOG: &[Command] = &[
    command("get", -2, "2.2.12", slowlog_get, "Returns the entries of the slow log, newest first."),
    command("len", 2, "2.2.12", slowlog_len, "Returns the number of entries in the slow log."),
    command("reset", 2, "2.2.12", slowlog_reset, "Clears all entries from the slow log."),
];

const LATENCY: &[Command] = &[
    command("doctor", 2, "2.8.13", doctor, "Returns what the noted latency events say, in words."),
    command("graph", 3, "2.8.13", graph, "Draws the latencies of one event."),
    command("histogram", -2, "7.0.0", histogram, "Returns how long commands took, as histograms."),
    command("history", 3, "2.8.13", history, "Returns the times and latencies of one event."),
    command("latest", 2, "2.8.13", latest, "Returns the latest latency of every event."),
    command("reset", -2, "2.8.13", reset, "Forgets the latencies of one or more events."),
];

/// Entries of `SLOWLOG GET` without a count.
const DEFAULT_ENTRIES: usize = 10;

fn slowlog_get(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let count = match args.len() {
        2 => DEFAULT_ENTRIES,
        3 => {
            let count = integer(&args[2]).ok().filter(|count| *count >= -1);
            let count = count.ok_or(Failure::fixed("ERR count should be greater than or equal to -1"))?;
            usize::try_from(count).unwrap_or(usize::MAX)
        }
        _ => return Err(Failure::arity("slowlog|get")),
    };
    let entries = cx.shared.observation.slow.newest(count);
    cx.reply.array(entries.len());
    for entry in &entries {
        show(&mut cx.reply, entry);
    }
    Ok(Flow::Done)
}

fn show(reply: &mut Encoder<'_>, entry: &SlowEntry) {
    reply.array(6);
    for number in [entry.id, entry.at_s, entry.us] {
        reply.unsigned(number);
    }
    reply.array(entry.args.len());
    entry.args.iter().for_each(|arg| reply.bulk(arg));
    reply.bulk(entry.peer.as_bytes());
    reply.bulk(entry.name.as_bytes());
}

fn slowlog_len(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.reply.unsigned(cx.shared.observation.slow.len() as u64);
    Ok(Flow::Done)
}

fn slowlog_reset(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.shared.observation.slow.reset();
    cx.reply.ok();
    Ok(Flow::Done)
}

fn latest(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    let events = cx.shared.observation.latency.all();
    cx.reply.array(events.len());
    for (kind, event) in events {
        let (at_s, ms) = event.samples.back().copied().unwrap_or_default();
        cx.reply.array(4);
        cx.reply.bulk(kind.as_bytes());
        for number in [at_s, ms, event.max_ms] {
            cx.reply.unsigned(number);
        }
    }
    Ok(Flow::Done)
}

fn history(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let samples = cx.shared.observation.latency.event(&shorten(&args[2], 64)).unwrap_or_default().samples;
    cx.reply.array(samples.len());
    for (at_s, ms) in samples {
        cx.reply.array(2);
        cx.reply.unsigned(at_s);
        cx.reply.unsigned(ms);
    }
    Ok(Flow::Done)
}

fn graph(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let kind = shorten(&args[2], 64);
    let event = cx.shared.observation.latency.event(&kind.to_ascii_lowercase());
    let Some(event) = event.filter(|event| !event.samples.is_empty()) else {
        return Err(Failure::text(format!("ERR No samples available for event '{kind}'")));
    };
    cx.reply.verbatim(&event.draw(&kind, cx.now_ms / 1000));
    Ok(Flow::Done)
}

fn reset(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let named = |kind: &str| args.from(2).iter().any(|name| name.eq_ignore_ascii_case(kind.as_bytes()));
    let forgotten = cx.shared.observation.latency.reset(|kind| args.len() == 2 || named(kind));
    cx.reply.integer(forgotten as i64);
    Ok(Flow::Done)
}

fn doctor(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    let events = cx.shared.observation.latency.all();
    let threshold_ms = cx.shared.settings.latency_threshold_ms();
    let text = if threshold_ms == 0 && events.is_empty() {
        "Latency is not monitored. CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n".into()
    } else if events.is_empty() {
        format!("Nothing took {threshold_ms} ms or more since the monitor was turned on.\n")
    } else {
        events.iter().map(|(kind, event)| diagnose(kind, event)).collect()
    };
    cx.reply.verbatim(&text);
    Ok(Flow::Done)
}

/// What an event says, in a sentence or two.
fn diagnose(kind: &str, event: &Event) -> String {
    let count = event.samples.len();
    let sum: u64 = event.samples.iter().map(|(_, ms)| ms).sum();
    let mean = sum as f64 / count.max(1) as f64;
    let advice = match kind {
        "command" => " SLOWLOG GET shows which commands take long.",
        "fast-command" => {
            " Such commands take long only if the machine is busy or the disk holds them up; see STATS."
        }
        _ => "",
    };
    format!("{kind}: {count} moments noted, {mean:.1} ms on average, {} ms at most.{advice}\n", event.max_ms)
}

fn histogram(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let wanted: Vec<String> =
        args.from(2).iter().map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).collect();
    let mut found: Vec<(String, Merged)> = Vec::new();
    for (index, command) in all().iter().enumerate() {
        let own = (*command, None);
        let subs = command.subcommands.iter().map(|sub| (sub, Some(*command)));
        for (runs, parent) in std::iter::once(own).chain(subs) {
            let name = full_name(runs, parent);
            let asked = |n: &String| *n == name || *n == command.name;
            if wanted.is_empty() || wanted.iter().any(asked) {
                let sums = super::info::command_sums(cx.shared, index, command, runs);
                if sums.calls > 0 {
                    found.push((name, sums.times));
                }
            }
        }
    }
    cx.reply.map(found.len());
    for (name, times) in &found {
        cx.reply.bulk(name.as_bytes());
        distribution(&mut cx.reply, times);
    }
    Ok(Flow::Done)
}

/// Calls, and how many of them took at most 1, 2, 4, … microseconds (of 1,024 ns, as in Redis), up to all.
fn distribution(reply: &mut Encoder<'_>, times: &Merged) {
    let (total, mut steps, mut bound_ns) = (times.total(), Vec::new(), 1024u64);
    loop {
        let count = times.at_most(bound_ns);
        if count > 0 {
            steps.push((bound_ns / 1000, count));
        }
        if count >= total || bound_ns >= 1 << 50 {
            break;
        }
        bound_ns *= 2;
    }
    reply.map(2);
    reply.bulk(b"calls");
    reply.unsigned(total);
    reply.bulk(b"histogram_usec");
    reply.map(steps.len());
    for (us, count) in steps {
        reply.unsigned(us);
        reply.unsigned(count);
    }
}

fn monitor(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    let place = cx.session.place();
    let watcher = Watcher { loop_index: place.loop_index, slot: place.slot, client: place.client };
    cx.shared.observation.monitors.add(watcher);
    cx.reply.ok();
    Ok(Flow::Done)
}
