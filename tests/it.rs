//! The one integration binary.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod cli;
mod crash;
mod gate;
#[path = "../daemon/git/tests/http_backend.rs"]
mod http_backend;
mod invalid;
mod plan;
mod reconcile;
mod record;
mod remote;
mod world;
