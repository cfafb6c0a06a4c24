//! The one integration binary.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod acting;
mod architecture;
mod cli;
mod crash;
mod demo;
mod docs;
mod drain;
mod fleet;
mod gate;
mod gates;
mod hops;
#[expect(
    clippy::expect_used,
    dead_code,
    reason = "it serves the unit tests of `git` too, which order more faults"
)]
#[path = "../daemon/git/tests/http_backend.rs"]
mod http_backend;
mod invalid;
mod limits;
mod patience;
mod plan;
mod provider;
mod reconcile;
mod record;
mod remote;
mod replans;
mod rest;
mod serve;
mod windows;
mod world;
