//! The one integration binary.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod crash;
mod gate;
mod invalid;
mod plan;
mod reconcile;
mod record;
mod world;
