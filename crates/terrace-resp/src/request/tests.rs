//! The decoder against whole, split, hostile and random input.

use proptest::prelude::*;

use super::*;

type Requests = Vec<Vec<Vec<u8>>>;

/// Feeds `bytes` in pieces that end at `cuts`, as a connection does.
fn feed(bytes: &[u8], cuts: &[usize], limits: &Limits) -> (Requests, Option<ProtocolError>) {
    let mut decoder = Decoder::new();
    let mut buf = Vec::new();
    let mut out = Vec::new();
    let mut sent = 0;
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        buf.extend_from_slice(&bytes[sent..cut.max(sent)]);
        sent = cut.max(sent);
        loop {
            match decoder.decode(&mut buf, limits) {
                Err(error) => return (out, Some(error)),
                Ok(None) => break,
                Ok(Some(len)) => {
                    let args: Vec<_> = decoder.args(&buf).iter().map(<[u8]>::to_vec).collect();
                    if !args.is_empty() {
                        out.push(args);
                    }
                    buf.drain(..len);
                }
            }
        }
    }
    (out, None)
}

fn error_of(bytes: &[u8]) -> String {
    let (_, error) = feed(bytes, &[], &Limits::DEFAULT);
    error.map(|e| e.to_string()).unwrap_or_default()
}

#[test]
fn requests_survive_a_split_at_every_byte() {
    let stream: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\nb\n\r\nPING\r\n*0\r\n\r\n*-1\r\n\
        *1\r\n$4\r\nPING\r\nset \"a b\" 'c'\n*2\r\n$0\r\n\r\n$1\r\nx\r\n";
    let (whole, error) = feed(stream, &[], &Limits::DEFAULT);
    assert_eq!(error, None);
    assert_eq!(whole.len(), 5);
    assert_eq!(whole[0], [&b"SET"[..], b"k", b"a\r\nb\n"]);
    assert_eq!(whole[3], [&b"set"[..], b"a b", b"c"]);
    for cut in 0..=stream.len() {
        assert_eq!(feed(stream, &[cut], &Limits::DEFAULT), (whole.clone(), None), "cut at {cut}");
    }
    let every: Vec<usize> = (0..stream.len()).collect();
    assert_eq!(feed(stream, &every, &Limits::DEFAULT), (whole, None));
}

#[test]
fn errors_have_the_texts_of_redis() {
    let check = |bytes: &[u8], text: &str| assert_eq!(error_of(bytes), format!("Protocol error: {text}"));
    check(b"*abc\r\n", "invalid multibulk length");
    check(b"*1048577\r\n", "invalid multibulk length");
    check(b"*99999999999999999999\r\n", "invalid multibulk length");
    check(b"*1\r\n$abc\r\n", "invalid bulk length");
    check(b"*1\r\n$-1\r\n", "invalid bulk length");
    check(b"*1\r\n$536870913\r\n", "invalid bulk length");
    check(b"*1\r\n:1\r\n", "expected '$', got ':'");
    check(b"*1\r\n\n\r\n", "expected '$', got '?'");
    check(b"\"abc\r\n", "unbalanced quotes in request");
    check(&b"a".repeat(70_000), "too big inline request");
    check(&[b"*".as_slice(), &b"1".repeat(70_000)].concat(), "too big mbulk count string");
    check(&[b"*1\r\n$".as_slice(), &b"1".repeat(70_000)].concat(), "too big bulk count string");
}

#[test]
fn limits_are_stricter_before_authentication() {
    let check = |bytes: &[u8], expected: ProtocolError| {
        assert_eq!(feed(bytes, &[], &Limits::UNAUTHENTICATED).1, Some(expected));
    };
    check(b"*11\r\n", ProtocolError::UnauthenticatedMultibulkLength);
    check(b"*1\r\n$16385\r\n", ProtocolError::UnauthenticatedBulkLength);
    assert_eq!(feed(b"*10\r\n$16384\r\n", &[], &Limits::UNAUTHENTICATED).1, None);
}

#[test]
fn a_large_announcement_allocates_nothing() {
    let mut decoder = Decoder::new();
    let mut buf = b"*1048576\r\n$536870912\r\n".to_vec();
    assert_eq!(decoder.decode(&mut buf, &Limits::DEFAULT), Ok(None));
    assert_eq!(decoder.args.capacity(), 0);
    assert_eq!(decoder.needed(), buf.len() + (512 << 20) + 2);
}

#[test]
fn one_request_has_a_total_limit() {
    let limits = Limits { request_bytes: 100, ..Limits::DEFAULT };
    let stream = b"*2\r\n$50\r\n01234567890123456789012345678901234567890123456789\r\n$60\r\n";
    assert_eq!(feed(stream, &[], &limits).1, Some(ProtocolError::RequestTooBig));
}

fn encoded(requests: &Requests) -> Vec<u8> {
    let mut out = Vec::new();
    for request in requests {
        crate::encode_request(&mut out, request);
    }
    out
}

proptest! {
    #[test]
    fn random_requests_come_back_however_they_are_cut(
        requests in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6), 0..6),
        mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let stream = encoded(&requests);
        let mut cuts: Vec<usize> = cuts.drain(..).map(|c| c.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        prop_assert_eq!(feed(&stream, &cuts, &Limits::DEFAULT), (requests, None));
    }

    #[test]
    fn random_bytes_give_the_same_answer_however_they_are_cut(
        bytes in prop::collection::vec(prop_oneof![
            Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'"'), Just(b' '), any::<u8>()
        ], 0..60),
    ) {
        let whole = feed(&bytes, &[], &Limits::DEFAULT);
        let every: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(feed(&bytes, &every, &Limits::DEFAULT), whole);
    }
}
