//! Upkeep: what people do with a store beside reading and writing it.
//!
//! [`backup`] keeps copies of an open store. The rest works on the files of one that nobody has open
//! ([`StoreFiles`]): `verify` looks for damage, `repair` salvages what is sound into a new directory, `inspect` says
//! what a store consists of, `dump` what a file holds.
//!
//! Everything here stands above the store and uses its parts; the store knows nothing of it. Nothing here changes
//! the files that it looks at.

pub(crate) mod backup;
pub(crate) mod dump;
pub(crate) mod files;
pub(crate) mod finding;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub(crate) mod inspect;
mod order;
pub(crate) mod progress;
pub(crate) mod repair;
mod values;
pub(crate) mod verify;
mod verify_blobs;

pub use files::StoreFiles;
