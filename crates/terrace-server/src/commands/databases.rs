//! Commands over more than one database.

use terrace_resp::Args;

use super::options::database;
use super::table::{ACCESS, Command, DELETE, FAST, ONE_KEY, READ_WRITE, WRITE};
use super::{Flow, Handled};
use crate::context::Context;
use crate::failure::Failure;
use crate::hash::whole;

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] =
    &[Command::new("move", 3, "generic", "1.0.0", move_key, "Moves a key to another database.")
        .flags(WRITE | FAST)
        .keys(ONE_KEY)
        .access(READ_WRITE | ACCESS | DELETE)];

fn move_key(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (key, from, to) = (&args[1], cx.session.db, database(&args[2])?);
    if from == to {
        return Err(Failure::fixed("ERR source and destination objects are the same"));
    }
    let moved = cx.transact(|tx| {
        let Some(entry) = tx.read(from, key)? else { return Ok(false) };
        if tx.read(to, key)?.is_some() {
            return Ok(false);
        }
        whole::copy(tx, from, (to, key), &entry)?;
        whole::remove(tx, from, key, &entry)?;
        Ok(true)
    })?;
    cx.reply.integer(i64::from(moved));
    Ok(Flow::Done)
}
