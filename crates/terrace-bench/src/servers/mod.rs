//! The comparison of servers: the same load on Terrace and on every other server of the Redis protocol that is
//! installed, side by side in one run.
//!
//! [`compare_servers`] starts, for each [`ServerCase`] and round, one server after another on a free port of the
//! loopback device with an empty directory, loads what the case reads, lets `load` drive it, checks a sample of what
//! was written, and stops it. The load generator keeps requests as templates and only counts replies, so that it
//! costs a fraction of what a server does.

mod case;
mod check;
mod connection;
mod idle;
mod load;
mod pace;
mod process;
mod record;
mod replies;
mod report;
mod request;
mod run;

pub use case::{ServerCase, Verb, issue, quick};
pub use process::{Kind, Programs};
pub use record::{ServerRecord, read_server_records};
pub use report::{server_chart, server_markdown};
pub use run::{Driven, ServerPlan, compare_servers, drive};
