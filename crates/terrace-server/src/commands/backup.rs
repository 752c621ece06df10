//! Copies of the running store: `BACKUP TO`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use terrace::Backups;
use terrace_resp::Args;

use super::table::{ADMIN, Command, NO_MULTI, NO_SCRIPT};
use super::{Flow, Handled};
use crate::context::Context;
use crate::failure::{Failure, SYNTAX};

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[Command::new(
    "backup",
    3,
    "server",
    "terrace 0.1.0",
    backup,
    "BACKUP TO path: makes a new generation in a directory of backups on the server's machine.",
)
.flags(ADMIN | NO_SCRIPT | NO_MULTI)];

/// `BACKUP TO <path>`: answers with a sentence about the generation that was made.
fn backup(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    if !args[1].eq_ignore_ascii_case(b"to") {
        return Err(SYNTAX);
    }
    let to = Path::new(OsStr::from_bytes(&args[2])).to_path_buf();
    if !to.is_absolute() {
        return Err(Failure::fixed(
            "ERR BACKUP takes an absolute path, of a directory on the server's machine",
        ));
    }
    cx.settle();
    Ok(Flow::Job(Box::new(move |shared, reply| {
        let made = Backups::new(&to).create(shared.databases.store(), |_| ())?;
        let (number, files, bytes) = (made.number, made.files, made.bytes);
        let new = format!("{} of them new, {} bytes", made.new_files, made.new_bytes);
        reply.bulk(format!("generation {number}: {files} tables, {bytes} bytes; {new}").as_bytes());
        Ok(())
    })))
}
