//! Which arguments are secrets, to be shown to nobody who reads what commands ran.

use terrace_resp::Args;

use crate::parameters::{self, Kind};

/// What stands in the place of a secret.
pub(super) const REDACTED: &[u8] = b"(redacted)";

/// Whether the argument number `at` is a secret. `AUTH`, what follows `AUTH` in other commands, passwords in
/// `CONFIG SET`, and the rules of users.
pub(crate) fn is_secret(args: Args<'_>, at: usize) -> bool {
    let is = |index: usize, word: &[u8]| args.get(index).is_some_and(|arg| arg.eq_ignore_ascii_case(word));
    let in_front = |distance: usize, word: &[u8]| at > distance && is(at - distance, word);
    if at == 0 {
        return false;
    }
    if is(0, b"auth") {
        return true;
    }
    if is(0, b"hello") {
        return in_front(1, b"auth") || in_front(2, b"auth");
    }
    if is(0, b"migrate") {
        return in_front(1, b"auth") || in_front(1, b"auth2") || in_front(2, b"auth2");
    }
    if is(0, b"acl") && (is(1, b"setuser") || is(1, b"deluser") || is(1, b"getuser")) {
        return at >= 2;
    }
    if is(0, b"config") && is(1, b"set") && at >= 3 && at % 2 == 1 {
        let name = args.get(at - 1).map(String::from_utf8_lossy).unwrap_or_default();
        return parameters::find(&name).is_some_and(|parameter| matches!(parameter.kind, Kind::Secret));
    }
    false
}

#[cfg(test)]
mod tests {
    use terrace_resp::{Decoder, Limits, encode_request};

    use super::*;

    fn shown(command: &str) -> String {
        let mut bytes = Vec::new();
        let words: Vec<&str> = command.split(' ').collect();
        encode_request(&mut bytes, &words);
        let mut decoder = Decoder::new();
        decoder.decode(&mut bytes, &Limits::DEFAULT).unwrap().unwrap();
        let args = decoder.args(&bytes);
        let word = |at: usize| if is_secret(args, at) { "*" } else { words[at] };
        (0..words.len()).map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn secrets_are_hidden_and_nothing_else() {
        for (command, expected) in [
            ("AUTH secret", "AUTH *"),
            ("auth user secret", "auth * *"),
            ("HELLO 3 AUTH u p SETNAME x", "HELLO 3 AUTH * * SETNAME x"),
            (
                "CONFIG SET maxclients 5 requirepass p masterauth q",
                "CONFIG SET maxclients 5 requirepass * masterauth *",
            ),
            ("ACL SETUSER u on >p", "ACL SETUSER * * *"),
            ("MIGRATE h 1 k 0 5 AUTH2 u p", "MIGRATE h 1 k 0 5 AUTH2 * *"),
            ("SET auth secret", "SET auth secret"),
        ] {
            assert_eq!(shown(command), expected);
        }
    }
}
