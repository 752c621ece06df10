//! Passwords: only their SHA-256 is kept, and comparing takes the same time wherever two differ.
//!
//! A fast hash does not slow down whoever has stolen the hashes; it is what Redis stores, so that files of users can
//! be exchanged. `ACL GENPASS` makes passwords that cannot be guessed anyway.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// What is kept of a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hash([u8; 32]);

impl Hash {
    /// The hash of a password.
    pub(crate) fn of(password: &[u8]) -> Self {
        Self(Sha256::digest(password).into())
    }

    /// A hash as 64 lower-case hexadecimal digits.
    pub(crate) fn parse(digits: &[u8]) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut hash = [0; 32];
        if digits.len() != 2 * hash.len() {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(hash))
    }

    /// The same digits.
    pub(crate) fn digits(&self) -> String {
        hexadecimal(&self.0)
    }

    /// Whether this is one of `known`. The time taken depends on how many there are, not on what they are.
    pub(crate) fn is_among(&self, known: &[Self]) -> bool {
        let same = known.iter().fold(Choice::from(0), |found, hash| found | hash.0.ct_eq(&self.0));
        same.into()
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // Writing to a string does not fail.
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_sha_256() {
        let hash = Hash::of(b"p");
        assert_eq!(hash.digits(), "148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940");
        assert_eq!(Hash::parse(hash.digits().as_bytes()), Some(hash));
        assert!(hash.is_among(&[Hash::of(b"q"), hash]) && !hash.is_among(&[Hash::of(b"q")]));
        for bad in [&hash.digits().to_uppercase(), &hash.digits()[1..], &format!("{}0", hash.digits())] {
            assert_eq!(Hash::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
