//! The one integration binary.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod architecture;
mod beside;
mod chaos;
mod cli;
mod crash;
mod demo;
mod docs;
mod encrypted;
mod gate;
#[expect(
    clippy::expect_used,
    dead_code,
    reason = "it serves the unit tests of `git` too, which order more faults"
)]
#[path = "../daemon/git/tests/http_backend.rs"]
mod http_backend;
mod indexes;
mod invalid;
mod pass;
mod plan;
mod provider;
mod record;
mod remote;
mod scenario;
mod world;
mod worlds;
