//! What a client gets without having asked: messages and invalidations, encoded once for all receivers.

use terrace_resp::{Encoder, Protocol};

use super::{Kind, Name, Place, Subscriptions};

/// The channel on which clients of the old protocol get the invalidations of others.
const INVALIDATION_CHANNEL: &[u8] = b"__redis__:invalidate";

/// Something to be written to clients.
#[derive(Debug)]
pub(crate) enum Push {
    /// A message.
    Message {
        /// Why a client gets it: it must still be subscribed to this.
        kind: Kind,
        /// The channel or pattern.
        name: Name,
        /// The frame without its first byte, which depends on the protocol.
        frame: Vec<u8>,
    },
    /// Keys that a client must no longer hold in its cache.
    Invalidation {
        /// An array of keys, encoded; `None` for all keys.
        keys: Option<Vec<u8>>,
        /// Who has read them and has its invalidations sent here, if that is another client.
        reader: Option<Place>,
    },
    /// The client to which invalidations were to go is gone.
    BrokenRedirect(u64),
}

impl Push {
    /// A message on a channel.
    pub(crate) fn message(kind: Kind, channel: &[u8], payload: &[u8]) -> Self {
        let label: &[u8] = if kind == Kind::Shard { b"smessage" } else { b"message" };
        Self::Message { kind, name: channel.into(), frame: frame(&[label, channel, payload]) }
    }

    /// A message on a channel that matches a pattern.
    pub(crate) fn pattern_message(pattern: &Name, channel: &[u8], payload: &[u8]) -> Self {
        let frame = frame(&[b"pmessage", pattern, channel, payload]);
        Self::Message { kind: Kind::Pattern, name: Name::clone(pattern), frame }
    }

    /// Keys to forget.
    pub(crate) fn invalidation<'a>(
        keys: impl ExactSizeIterator<Item = &'a [u8]>,
        reader: Option<Place>,
    ) -> Self {
        let mut encoded = Vec::new();
        let mut encoder = Encoder::new(&mut encoded, Protocol::Resp3);
        encoder.array(keys.len());
        for key in keys {
            encoder.bulk(key);
        }
        Self::Invalidation { keys: Some(encoded), reader }
    }

    /// How many bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Message { frame, .. } => frame.len(),
            Self::Invalidation { keys, .. } => keys.as_ref().map_or(0, Vec::len),
            Self::BrokenRedirect(_) => 0,
        }
    }

    /// Appends it to a client's output; `false` if this client does not get it.
    pub(crate) fn write(&self, out: &mut Vec<u8>, protocol: Protocol, listens: &Subscriptions) -> bool {
        match self {
            Self::Message { kind, name, frame } => {
                if !listens.contains(*kind, name) {
                    return false;
                }
                out.push(if protocol == Protocol::Resp3 { b'>' } else { b'*' });
                out.extend_from_slice(frame);
            }
            Self::Invalidation { keys, reader } => {
                let mut reply = Encoder::new(out, protocol);
                if protocol == Protocol::Resp3 {
                    reply.push(2);
                    reply.bulk(b"invalidate");
                } else if reader.is_some() && !listens.is_empty() {
                    reply.array(3);
                    reply.bulk(b"message");
                    reply.bulk(INVALIDATION_CHANNEL);
                } else {
                    return false;
                }
                match keys {
                    Some(keys) => reply.raw(keys),
                    None => reply.null(),
                }
            }
            Self::BrokenRedirect(client) => {
                if protocol != Protocol::Resp3 {
                    return false;
                }
                let mut reply = Encoder::new(out, protocol);
                reply.push(2);
                reply.bulk(b"tracking-redir-broken");
                reply.unsigned(*client);
            }
        }
        true
    }
}

/// Bulk strings as the elements of a push, without its first byte.
fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + parts.iter().map(|part| part.len() + 24).sum::<usize>());
    let mut encoder = Encoder::new(&mut out, Protocol::Resp3);
    encoder.push(parts.len());
    for part in parts {
        encoder.bulk(part);
    }
    out.remove(0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(push: &Push, protocol: Protocol, listens: &Subscriptions) -> String {
        let mut out = Vec::new();
        push.write(&mut out, protocol, listens);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_message_has_the_form_of_its_protocol_and_needs_the_subscription() {
        let push = Push::message(Kind::Channel, b"c", b"hi");
        let mut listens = Subscriptions::default();
        assert_eq!(written(&push, Protocol::Resp3, &listens), "");
        listens.add(Kind::Channel, &Name::from(&b"c"[..]));
        let rest = "3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n";
        assert_eq!(written(&push, Protocol::Resp3, &listens), format!(">{rest}"));
        assert_eq!(written(&push, Protocol::Resp2, &listens), format!("*{rest}"));
        let push = Push::message(Kind::Shard, b"c", b"hi");
        assert_eq!(written(&push, Protocol::Resp2, &listens), "");
    }

    #[test]
    fn invalidations_reach_the_old_protocol_only_when_redirected() {
        let mut listens = Subscriptions::default();
        let own = Push::invalidation([&b"k"[..]].into_iter(), None);
        let reader = Place { client: 1, loop_index: 0, slot: 0 };
        let others = Push::invalidation([&b"k"[..]].into_iter(), Some(reader));
        assert_eq!(written(&own, Protocol::Resp3, &listens), ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
        assert_eq!(written(&others, Protocol::Resp2, &listens), "");
        listens.add(Kind::Channel, &Name::from(INVALIDATION_CHANNEL));
        assert_eq!(written(&own, Protocol::Resp2, &listens), "");
        let text = written(&others, Protocol::Resp2, &listens);
        assert_eq!(text, "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n");
    }
}
