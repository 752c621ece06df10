//! Upkeep: what people do with a store beside reading and writing it.
//!
//! Everything here stands above the store and uses its parts; the store knows nothing of it.

pub(crate) mod backup;
