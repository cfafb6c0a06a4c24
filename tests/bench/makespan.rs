//! How long an upgrade of all workers takes, against the least time that budgets and limits allow:
//! `cargo bench --bench makespan`, or with words for a row of the table: a mix, nodes, how many at once, and `ahead` where
//! pods may leave ahead of their node's turn or `in-turn` where not.
//!
//! Passes of the daemon go over a small model of a cluster in virtual time. A fifth word says how many milliseconds of it lie
//! between two passes at the least. `-- whole MIX NODES AT_ONCE` does the same with the whole daemon over the simulated API
//! server, to compare; not with the real mix, whose pods end at different times.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark is a test to us, and a program to the compiler"
)]

use std::process::Command;

use jiff::SignedDuration;

#[path = "cluster.rs"]
mod cluster;
#[path = "measure.rs"]
#[expect(dead_code, reason = "each benchmark needs a part of it")]
mod measure;
#[path = "mixes.rs"]
mod mixes;
#[path = "upgrade.rs"]
mod upgrade;
#[path = "whole.rs"]
mod whole;
#[path = "../world.rs"]
#[expect(dead_code, reason = "the world of the tests offers more than a benchmark needs")]
mod world;
#[path = "../worlds.rs"]
#[expect(dead_code, unused_imports, reason = "the builder of worlds offers more than a benchmark needs")]
mod worlds;

use mixes::{Mix, PDB_BOUND, REAL, SLOT_BOUND};
use upgrade::Pool;

const MIXES: [Mix; 2] = [PDB_BOUND, SLOT_BOUND];
/// Workers, and how many of them may be out at once.
const SIZES: [(usize, usize); 5] = [(100, 10), (100, 33), (1_000, 100), (1_000, 330), (5_000, 500)];

/// Those of the benchmark on a real API server.
const REAL_SIZES: [(usize, usize); 2] = [(30, 4), (100, 10)];

const HEAD: &str = "| mix | nodes | at once | ahead | lower bound | what sets it | makespan | ratio | evictions per pod | refused | \
                    breaches | out, draining | bound's budget idle | first node back | processor time |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<usize>().unwrap();
    match words.as_slice() {
        ["whole", mix, nodes, at_once] if *mix != REAL.name => {
            compare(named(mix), number(nodes), number(at_once));
        }
        [mix, nodes, at_once, ahead, rest @ ..] => {
            let pool = Pool { nodes: number(nodes), at_once: number(at_once), ahead: *ahead == "ahead" };
            let spacing = rest.first().map(|millis| SignedDuration::from_millis(millis.parse().unwrap()));
            row(named(mix), pool, spacing.unwrap_or_else(|| spacing_of(pool.nodes)));
        }
        _ => {
            println!("{HEAD}");
            for mix in MIXES {
                for (nodes, at_once) in SIZES {
                    for ahead in ["in-turn", "ahead"] {
                        in_a_process(&[mix.name, &nodes.to_string(), &at_once.to_string(), ahead]);
                    }
                }
            }
            for (nodes, at_once) in REAL_SIZES {
                in_a_process(&[REAL.name, &nodes.to_string(), &at_once.to_string(), "in-turn"]);
            }
        }
    }
}

fn named(word: &str) -> Mix {
    MIXES.into_iter().chain([REAL]).find(|mix| mix.name == word).unwrap_or_else(|| panic!("no mix {word}"))
}

fn in_a_process(words: &[&str]) {
    let status = Command::new(std::env::current_exe().unwrap()).args(words).status().unwrap();
    assert!(status.success());
}

/// The daemon gathers events for 20 ms. On a large cluster something happens all the time, and that many passes would take
/// hours.
fn spacing_of(nodes: usize) -> SignedDuration {
    SignedDuration::from_millis(if nodes <= 100 { 20 } else { 200 })
}

fn row(mix: Mix, pool: Pool, spacing: SignedDuration) {
    let Pool { nodes, at_once, ahead } = pool;
    let of = upgrade::upgrade(mix, pool, spacing);
    let per_pod =
        |count: usize| f64::from(u32::try_from(count).unwrap()) / f64::from(u32::try_from(of.pods).unwrap());
    let bound = f64::from(i32::try_from(of.bound.seconds).unwrap());
    println!(
        "| {} | {nodes} | {at_once} | {} | {bound} s | {} {} | {} s | {:.3} | {:.2} | {} | {} | {:.1}, {:.1} | {} s | {} s | {:.0} s, {} passes |",
        mix.name,
        if ahead { "yes" } else { "no" },
        of.bound.object,
        of.bound.text,
        of.makespan.as_secs(),
        of.makespan.as_secs_f64() / bound,
        per_pod(of.counts.evictions),
        of.counts.refused,
        of.counts.breaches,
        of.out,
        of.draining,
        of.idle.as_secs(),
        of.first_back.as_secs(),
        of.processor.as_secs_f64(),
        of.passes,
    );
}

fn compare(mix: Mix, nodes: usize, at_once: usize) {
    let of = whole::upgrade(mix, nodes, at_once);
    println!(
        "whole daemon, {}, {nodes} nodes, {at_once} at once: {} s, {} evictions, {} refused, {} breaches, {:.0} s of processor time",
        mix.name,
        of.makespan.as_secs(),
        of.evictions,
        of.refused,
        of.breaches,
        of.processor.as_secs_f64(),
    );
}
