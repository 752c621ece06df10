//! Reading what a payload is made of: lengths, numbers and strings.
//!
//! ```text
//! length   00llllll | 01llllll l | 0x80 llll (big-endian) | 0x81 llllllll (big-endian)
//! string   length, bytes
//!          0xC0 i8 | 0xC1 i16 | 0xC2 i32 (little-endian): a number, in decimal
//!          0xC3 compressed length, length, bytes compressed by LZF
//! ```
//!
//! Lengths are compared with what is left before memory is set aside. Writing is for `value`.

use crate::transaction::MAX_VALUE_BYTES;

/// What LZF makes of one byte at most: three bytes stand for up to 264.
const MAX_LZF_RATIO: usize = 88;

/// Where a payload cannot be read, and why.
#[derive(Debug)]
pub(super) struct Bad {
    /// The offset in the bytes that were given.
    pub(super) at: usize,
    /// The reason.
    pub(super) why: String,
}

/// What reading returns.
pub(super) type Read<T> = Result<T, Bad>;

/// A place in a payload.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    /// At the beginning.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// A refusal at this place.
    pub(super) fn bad<T>(&self, why: impl Into<String>) -> Read<T> {
        Err(Bad { at: self.at, why: why.into() })
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next bytes.
    pub(super) fn take(&mut self, len: usize) -> Read<&'a [u8]> {
        match self.bytes[self.at..].get(..len) {
            Some(taken) => {
                self.at += len;
                Ok(taken)
            }
            None => self.bad(format!("{len} bytes are expected, and {} are left", self.left())),
        }
    }

    /// The next bytes, as many as the array has.
    pub(super) fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Read<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// A length or another number; `Err` has the kind of a string that is stored in another way.
    fn length_or_kind(&mut self) -> Read<Result<u64, u8>> {
        let first = self.byte()?;
        Ok(match (first >> 6, first) {
            (0, _) => Ok(u64::from(first)),
            (1, _) => Ok(u64::from(u16::from_be_bytes([first & 0x3f, self.byte()?]))),
            (_, 0x80) => Ok(u64::from(u32::from_be_bytes(self.array()?))),
            (_, 0x81) => Ok(u64::from_be_bytes(self.array()?)),
            (3, _) => Err(first & 0x3f),
            _ => return self.bad(format!("{first:#04x} begins no length")),
        })
    }

    /// A number.
    pub(super) fn number(&mut self) -> Read<u64> {
        match self.length_or_kind()? {
            Ok(number) => Ok(number),
            Err(_) => self.bad("a length is expected, and not a string"),
        }
    }

    /// A length of bytes.
    fn length(&mut self) -> Read<usize> {
        let length = self.number()?;
        match usize::try_from(length) {
            Ok(length) if length <= MAX_VALUE_BYTES => Ok(length),
            _ => self.bad(format!("a string takes at most {MAX_VALUE_BYTES} bytes; this one has {length}")),
        }
    }

    /// A string.
    pub(super) fn string(&mut self) -> Read<Vec<u8>> {
        let decimal = |number: i32| number.to_string().into_bytes();
        match self.length_or_kind()? {
            Ok(length) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                Ok(self.take(length)?.to_vec())
            }
            Err(0) => Ok(decimal(i32::from(i8::from_le_bytes(self.array()?)))),
            Err(1) => Ok(decimal(i32::from(i16::from_le_bytes(self.array()?)))),
            Err(2) => Ok(decimal(i32::from_le_bytes(self.array()?))),
            Err(3) => self.compressed(),
            Err(kind) => self.bad(format!("there is no way {kind} to store a string")),
        }
    }

    fn compressed(&mut self) -> Read<Vec<u8>> {
        let (compressed, length) = (self.length()?, self.length()?);
        let bytes = self.take(compressed)?;
        if length > compressed.saturating_mul(MAX_LZF_RATIO) {
            return self.bad(format!("{compressed} compressed bytes cannot be {length} bytes"));
        }
        match lzf::decompress(bytes, length) {
            Ok(found) if found.len() == length => Ok(found),
            _ => self.bad("a compressed string is damaged"),
        }
    }
}
