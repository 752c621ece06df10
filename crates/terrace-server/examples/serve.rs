//! The smallest server: `cargo run --example serve -- <directory> <port>`.

use std::error::Error;

use terrace_server::{Server, ServerConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let directory = args.next().ok_or("usage: serve <directory> <port>")?;
    let port = args.next().ok_or("usage: serve <directory> <port>")?.parse()?;
    let mut config = ServerConfig::new(terrace::Db::open(directory)?);
    config.port = port;
    let server = Server::bind(config)?;
    println!("listening on {}", server.local_addr());
    server.run()?;
    Ok(())
}
