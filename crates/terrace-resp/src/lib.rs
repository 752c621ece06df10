//! The Redis protocol, versions 2 and 3, as bytes in and bytes out: no sockets, no state beyond one frame.
//!
//! - [`Decoder`] takes requests apart in the buffer they arrived in; arguments are ranges of that buffer.
//! - [`Encoder`] appends replies to a buffer, in the form that the client's protocol version knows.
//! - [`Value`] and [`decode_reply`] are the client's side, for tools and tests.
//! - [`number`] has the strict integer rules that the protocol and the commands share.
//!
//! No input makes anything here panic, and no length that a peer announces makes it allocate: memory grows
//! only with bytes that have arrived.
#![forbid(unsafe_code)]

mod encode;
mod error;
mod inline;
mod limits;
pub mod number;
mod reply;
mod request;

pub use encode::{Encoder, Protocol, format_double};
pub use error::ProtocolError;
pub use limits::Limits;
pub use reply::{Value, decode_reply, encode_request};
pub use request::{Args, Decoder, KeptArgs};
