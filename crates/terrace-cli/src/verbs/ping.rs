//! `terrace ping`: whether a server answers, for health checks.

use std::time::Duration;

use anyhow::Result;

use crate::exit::{Code, Failure};

/// Flags of `ping`.
#[derive(clap::Args)]
pub(crate) struct Ping {
    /// The server, as redis://[:PASSWORD@]HOST[:PORT].
    #[arg(long, value_name = "URL", default_value = "redis://127.0.0.1:6379")]
    url: String,
    /// Milliseconds to wait for the answer.
    #[arg(long, value_name = "MS", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
}

impl Ping {
    pub(crate) fn run(&self) -> Result<Code> {
        self.ask().map_err(|error| Failure::error(Code::Server, format!("{}: {error}", self.shown())))?;
        println!("PONG");
        Ok(Code::Done)
    }

    /// A server that asks for a password is there as well.
    fn ask(&self) -> redis::RedisResult<()> {
        let timeout = Duration::from_millis(self.timeout_ms);
        let mut connection = redis::Client::open(self.url.as_str())?.get_connection_with_timeout(timeout)?;
        connection.set_read_timeout(Some(timeout))?;
        match redis::cmd("PING").query::<String>(&mut connection) {
            Err(error) if error.code() == Some("NOAUTH") => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// The address without the password.
    fn shown(&self) -> &str {
        self.url.rsplit_once('@').map_or(self.url.as_str(), |(_, host)| host)
    }
}
