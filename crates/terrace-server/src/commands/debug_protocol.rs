//! `DEBUG PROTOCOL`: one reply of each type, for client libraries to test their decoders with.

use terrace_resp::{Args, Protocol};

use super::{Flow, Handled};
use crate::context::Context;
use crate::failure::Failure;

const UNKNOWN: Failure = Failure::fixed(
    "ERR Wrong protocol type name. Please use one of the following: \
     string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
);

pub(super) fn protocol(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    const BIG_NUMBER: &[u8] = b"1234567999999999999999999999999999999";
    let new = cx.reply.protocol() == Protocol::Resp3;
    let reply = &mut cx.reply;
    match args[2].to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        #[allow(clippy::approx_constant)] // What Redis answers.
        b"double" => reply.double(3.141),
        b"bignum" if new => reply.raw(&[b"(", BIG_NUMBER, b"\r\n"].concat()),
        b"bignum" => reply.bulk(BIG_NUMBER),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|number| reply.integer(number));
        }
        b"map" => {
            reply.map(3);
            for number in 0..3 {
                reply.integer(number);
                reply.boolean(number == 1);
            }
        }
        b"attrib" => {
            if new {
                reply.raw(b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n");
            }
            // An attribute goes before a reply and is none itself.
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if !new => return Err(Failure::fixed("ERR RESP2 is not supported by this command")),
        b"push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"verbatim" => reply.verbatim("This is a verbatim\nstring"),
        _ => return Err(UNKNOWN),
    }
    Ok(Flow::Done)
}
