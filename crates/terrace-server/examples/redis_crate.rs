//! A round trip with the crate `redis` against a server that runs: `redis_crate redis://127.0.0.1:PORT`. Panics at the
//! first difference.

use std::collections::{HashMap, HashSet};

use redis::{Client, Commands, Connection, ErrorKind, ExpireOption, Pipeline, RedisResult};

fn main() -> RedisResult<()> {
    let Some(url) = std::env::args().nth(1) else {
        eprintln!("usage: redis_crate redis://HOST:PORT");
        std::process::exit(2);
    };
    for protocol in ["resp2", "resp3"] {
        let client = Client::open(format!("{url}/?protocol={protocol}"))?;
        let mut connection = client.get_connection()?;
        redis::cmd("FLUSHALL").exec(&mut connection)?;
        strings(&mut connection)?;
        hashes(&mut connection)?;
        transactions(&client, &mut connection)?;
        messages(&client, &mut connection)?;
    }
    println!("strings, hashes, transactions and messages, with RESP2 and RESP3");
    Ok(())
}

fn strings(connection: &mut Connection) -> RedisResult<()> {
    let () = connection.set_ex("rust:k", b"\0binary\r\n", 100)?;
    assert_eq!(connection.get::<_, Vec<u8>>("rust:k")?, b"\0binary\r\n");
    assert!(connection.ttl::<_, i64>("rust:k")? > 90);
    assert_eq!(connection.get::<_, Option<String>>("rust:none")?, None);
    assert_eq!(connection.incr::<_, _, i64>("rust:n", 42)?, 42);
    let mut pipeline = Pipeline::new();
    for number in 0..1000 {
        pipeline.set(format!("rust:p:{number}"), number).ignore();
    }
    pipeline.mget(&["rust:p:0", "rust:p:999"]);
    let (found,): (Vec<u32>,) = pipeline.query(connection)?;
    assert_eq!(found, [0, 999]);
    let keys: RedisResult<HashSet<String>> = connection.scan_match("rust:p:*")?.collect();
    assert_eq!(keys?.len(), 1000);
    Ok(())
}

fn hashes(connection: &mut Connection) -> RedisResult<()> {
    let () = connection.hset_multiple("rust:h", &[("name", "Ada"), ("age", "36")])?;
    let all: HashMap<String, String> = connection.hgetall("rust:h")?;
    assert_eq!(all, [("name", "Ada"), ("age", "36")].map(|(k, v)| (k.into(), v.into())).into());
    assert_eq!(connection.hincr::<_, _, _, i64>("rust:h", "age", 1)?, 37);
    let set: Vec<i64> = connection.hexpire("rust:h", 100, ExpireOption::NONE, &["age", "none"])?;
    assert_eq!(set, [1, -2]);
    let wrong = connection.get::<_, String>("rust:h").unwrap_err();
    assert_eq!(wrong.code(), Some("WRONGTYPE"), "{wrong}");
    let unknown = redis::cmd("NOSUCH").exec(connection).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Server(redis::ServerErrorKind::ResponseError), "{unknown}");
    Ok(())
}

fn transactions(client: &Client, connection: &mut Connection) -> RedisResult<()> {
    let (now, name): (i64, String) =
        redis::pipe().atomic().incr("rust:t", 2).hget("rust:h", "name").query(connection)?;
    assert_eq!((now, name.as_str()), (2, "Ada"));
    let mut other = client.get_connection()?;
    let mut attempts = 0;
    let (last,): (i64,) = redis::transaction(connection, &["rust:t"], |connection, pipeline| {
        attempts += 1;
        let read: i64 = connection.get("rust:t")?;
        if attempts == 1 {
            // Comes between, so that the first attempt is refused.
            let () = other.set("rust:t", 10)?;
        }
        pipeline.set("rust:t", read + 1).ignore().get("rust:t").query(connection)
    })?;
    assert_eq!((attempts, last), (2, 11));
    Ok(())
}

fn messages(client: &Client, connection: &mut Connection) -> RedisResult<()> {
    let mut subscriber = client.get_connection()?;
    let mut news = subscriber.as_pubsub();
    news.subscribe("rust:news")?;
    news.psubscribe("rust:*")?;
    assert_eq!(connection.publish::<_, _, i64>("rust:news", "hello")?, 2);
    for _ in 0..2 {
        assert_eq!(news.get_message()?.get_payload::<String>()?, "hello");
    }
    Ok(())
}
