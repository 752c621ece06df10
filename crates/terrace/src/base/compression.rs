//! Compression of what is stored: one piece in, one out, and never more back than its length can account for.
//!
//! What is stored under LZ4 or zstd is the plain length (u32, little-endian) followed by one LZ4 block or one zstd
//! frame. Either is kept only where it saves at least an eighth, and zstd only where it shrinks by at most the factor
//! that readers believe. Checksums are the caller's.

#[cfg(feature = "zstd")]
use super::zstandard;

/// How the blocks of a table, and large values, are stored.
// The numbers are part of the file format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
#[repr(u8)]
pub enum Compression {
    /// As they are.
    #[default]
    None = 0,
    /// LZ4, block by block, where it saves at least an eighth.
    Lz4 = 1,
    /// Zstandard, block by block, where it saves at least an eighth: smaller than LZ4, and slower to write and
    /// to read. Only with the feature `zstd`; a build without it refuses such blocks.
    #[cfg(feature = "zstd")]
    Zstd = 2,
}

/// Larger pieces are stored plain: one huge value, for which a second copy in memory would cost too much.
const COMPRESS_MAX_BYTES: usize = 256 << 20;

/// LZ4 cannot expand its input by more than this factor, and zstd is not used where it would, so a larger
/// claim is a lie.
const EXPANSION_MAX: usize = 255;

/// Slack of that bound for tiny pieces.
const EXPANSION_SLACK_BYTES: usize = 64;

/// The number of LZ4.
pub(crate) const LZ4: u8 = Compression::Lz4 as u8;

/// The number of zstd, which every build knows, so that one without it can say what it misses.
pub(crate) const ZSTD: u8 = 2;

#[cfg(not(feature = "zstd"))]
const NO_ZSTD: &str = "expected compression 0 or 1, found 2, which is zstd: it is sound, but only a build of \
                       terrace with the feature `zstd` reads it";

/// Appends `plain` compressed and says how, or appends nothing where that does not pay.
pub(crate) fn compress(out: &mut Vec<u8>, plain: &[u8], compression: Compression) -> Compression {
    if compression == Compression::None || plain.len() > COMPRESS_MAX_BYTES {
        return Compression::None;
    }
    let start = out.len();
    out.extend_from_slice(&(plain.len() as u32).to_le_bytes());
    let body = out.len();
    let kept_bytes = (plain.len() - plain.len() / 8).saturating_sub(body - start);
    #[cfg(feature = "zstd")]
    if compression == Compression::Zstd {
        out.resize(body + zstandard::room(plain.len()), 0);
        let written = zstandard::compress_into(plain, &mut out[body..]).unwrap_or(usize::MAX);
        // What zstd shrinks beyond the bound that readers put on a claim is left to LZ4, which stays within.
        if written <= kept_bytes && plain.len() <= plain_bytes_max(written) {
            out.truncate(body + written);
            return Compression::Zstd;
        }
    }
    out.resize(body + lz4_flex::block::get_maximum_output_size(plain.len()), 0);
    // The room is what the encoder asks for, so it cannot fail; if it did, plain bytes are as good.
    let written = lz4_flex::block::compress_into(plain, &mut out[body..]).unwrap_or(usize::MAX);
    if written <= kept_bytes {
        out.truncate(body + written);
        return Compression::Lz4;
    }
    out.truncate(start);
    Compression::None
}

/// The most plain bytes that a compressed piece may claim to hold.
fn plain_bytes_max(compressed_bytes: usize) -> usize {
    compressed_bytes.saturating_mul(EXPANSION_MAX).saturating_add(EXPANSION_SLACK_BYTES)
}

/// The plain bytes of what `compress` has made under the compression numbered `kind`, which is not 0; the text says
/// what is wrong with it. Allocates only what the length of `stored` can account for.
pub(crate) fn decompress(kind: u8, stored: &[u8]) -> Result<Vec<u8>, String> {
    let decompress = match kind {
        LZ4 => decompress_lz4,
        #[cfg(feature = "zstd")]
        ZSTD => zstandard::decompress,
        #[cfg(not(feature = "zstd"))]
        ZSTD => return Err(NO_ZSTD.to_string()),
        _ => return Err(format!("expected compression 0, 1 or 2, found {kind}")),
    };
    let Some((claimed, body)) = stored.split_first_chunk::<4>() else {
        return Err(format!("expected the length of a compressed block, found {} bytes", stored.len()));
    };
    let (claimed, limit) = (u32::from_le_bytes(*claimed) as usize, plain_bytes_max(body.len()));
    if claimed > limit {
        return Err(format!("expected at most {limit} plain bytes, found a claim of {claimed}"));
    }
    match decompress(body, claimed) {
        Ok(plain) if plain.len() == claimed => Ok(plain),
        Ok(plain) => Err(format!("expected {claimed} plain bytes, found {}", plain.len())),
        Err(error) => Err(format!("expected a block under compression {kind}, found {error}")),
    }
}

/// Into memory that nobody fills with zeros first: a good part of the time for a block of some KiB.
fn decompress_lz4(body: &[u8], plain_bytes: usize) -> Result<Vec<u8>, String> {
    lz4_flex::block::decompress(body, plain_bytes).map_err(|error| error.to_string())
}
