//! One HTTP/1.x request and its answer. The connection ends with the answer.
//!
//! Only what probes and scrapers send: `GET` and `HEAD`, no body. The head of a request is limited; parsing is
//! httparse's.

use std::borrow::Cow;
use std::io::{self, Read, Write};

/// The longest request head.
const MAX_HEAD_BYTES: usize = 8 << 10;
const MAX_HEADERS: usize = 64;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The path without the query.
    pub(super) path: String,
    /// Whether only the head of the answer is wanted.
    pub(super) is_head: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Response {
    /// The status code.
    pub(super) status: u16,
    content_type: &'static str,
    body: Cow<'static, str>,
}

impl Response {
    pub(super) fn new(status: u16, content_type: &'static str, body: impl Into<Cow<'static, str>>) -> Self {
        Self { status, content_type, body: body.into() }
    }

    pub(super) fn text(status: u16, body: impl Into<Cow<'static, str>>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body)
    }

    #[cfg(test)]
    pub(super) fn text_of(&self) -> &str {
        &self.body
    }

    fn reason(&self) -> &'static str {
        match self.status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            431 => "Request Header Fields Too Large",
            _ => "Service Unavailable",
        }
    }
}

/// Reads the head of one request; the inner error is the answer to a bad one.
pub(super) fn read(stream: &mut impl Read) -> io::Result<Result<Request, Response>> {
    let mut head = [0; MAX_HEAD_BYTES];
    let mut filled = 0;
    loop {
        if let Some(parsed) = parse(&head[..filled]) {
            return Ok(parsed);
        }
        if filled == head.len() {
            return Ok(Err(Response::text(431, "the request's head is longer than 8 KiB\n")));
        }
        match stream.read(&mut head[filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The request that starts `input`; `None` if there is more to come.
fn parse(input: &[u8]) -> Option<Result<Request, Response>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(input) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(_)) => {}
        Err(error) => return Some(Err(Response::text(400, format!("not an HTTP request: {error}\n")))),
    }
    let method = request.method.unwrap_or_default();
    if !matches!(method, "GET" | "HEAD") {
        return Some(Err(Response::text(405, "only GET and HEAD are answered here\n")));
    }
    let target = request.path.unwrap_or("/");
    let path = target.split(['?', '#']).next().unwrap_or(target).to_string();
    Some(Ok(Request { path, is_head: method == "HEAD" }))
}

/// Sends an answer.
pub(super) fn write(stream: &mut impl Write, response: &Response, head_only: bool) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
        response.status,
        response.reason(),
        response.content_type,
        response.body.len(),
    );
    stream.write_all(head.as_bytes())?;
    if !head_only {
        stream.write_all(response.body.as_bytes())?;
    }
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(mut input: &[u8]) -> io::Result<Result<Request, Response>> {
        read(&mut input)
    }

    fn status_of(input: &[u8]) -> u16 {
        read_all(input).unwrap().unwrap_err().status
    }

    #[test]
    fn requests_are_recognised() {
        let of = |path: &str, is_head| Request { path: path.into(), is_head };
        let get = read_all(b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().unwrap();
        assert_eq!(get, of("/metrics", false));
        assert_eq!(read_all(b"HEAD / HTTP/1.0\r\n\r\n").unwrap().unwrap(), of("/", true));
    }

    #[test]
    fn others_are_refused() {
        assert_eq!(status_of(b"POST / HTTP/1.1\r\n\r\n"), 405);
        assert_eq!(status_of(b"\x16\x03\x01\x02 \x01"), 400, "a TLS greeting");
        assert_eq!(status_of(b"*1\r\n$4\r\nPING\r\n"), 400, "a Redis client");
        assert_eq!(status_of(&[b"GET / HTTP/1.1\r\nA: ".as_slice(), &[b'a'; 9000]].concat()), 431);
        assert!(read_all(b"GET / HT").is_err(), "it hung up");
    }
}
