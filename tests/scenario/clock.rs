//! Clocks: the API server's differs from this machine's, or somebody sets the time of day.

use jiff::SignedDuration;
use windlass::model::decision::Key;
use windlass::model::state::RunState;

use super::processes::Daemon;
use crate::world::fixtures::workers_only;
use crate::world::process::{HOUR, MINUTE, SECOND};
use crate::world::{World, cluster_yaml};

fn set_server_ahead(world: &World, by: SignedDuration) {
    world.server.with(|cluster, _| cluster.settings.clock_ahead = by);
}

fn all_are(world: &World, version: &str) -> bool {
    world.nodes().iter().filter(|(name, ..)| name.starts_with('w')).all(|(_, found, ..)| found == version)
}

#[tokio::test(start_paused = true)]
async fn while_the_clocks_differ_nothing_is_taken_out() {
    let mut world = workers_only(2).await;
    set_server_ahead(&world, SECOND * 40);
    world.assert_run_ends(RunState::NeedsAPerson).await;
    world.assert_waits(Key::ClockOff, "clock", "39s behind that of the API server");
    assert_eq!(world.begun(), Vec::<String>::new());
    set_server_ahead(&world, SignedDuration::ZERO);
    world.assert_run_ends(RunState::AsDesired).await;
    assert!(all_are(&world, "v1.36.3"));
}

#[tokio::test(start_paused = true)]
async fn clocks_that_come_to_differ_in_a_run_keep_the_next_node_in_service() {
    let mut world = workers_only(3).await;
    let process = world.daemon();
    world.until("w1 done", HOUR, |world| world.node("w1") == ("v1.36.3".to_owned(), true, false)).await;
    set_server_ahead(&world, -MINUTE);
    world.pass(HOUR).await;
    world.assert_in_service("w3", "v1.35.4");
    assert!(process.says(Key::ClockOff, "clock"));
    set_server_ahead(&world, SECOND);
    world.until("the end", HOUR, |world| all_are(world, "v1.36.3")).await;
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_time_of_day_that_is_set_in_a_run_halts_nothing_and_is_taken_over_at_rest() {
    let world = workers_only(2).await;
    let clock = world.clock.clone();
    let daemon = Daemon::on(&world, "one");
    world.until("w1 out", HOUR, |world| world.node("w1").2).await;
    // NTP sets the clock of the machine; the API server's machine was right all the time.
    let by = MINUTE * 50;
    set_server_ahead(&world, by);
    clock.set_ahead(by);
    world.until("the upgrade", HOUR * 3, |world| all_are(world, "v1.36.3")).await;
    world.pass(MINUTE * 5).await;
    assert!(world.record().halted.is_none(), "{:#?}", world.tail());
    // The next entry has the new time.
    world.desire_within(crate::world::ALWAYS, &cluster_yaml("v1.36.4", ""));
    world.pass(MINUTE * 2).await;
    let last = world.journal().last().unwrap().at;
    assert!(last > clock.now() + by - MINUTE, "{last} at {}", clock.now());
    daemon.end().await;
}

/// A machine restarts with a clock that is an hour ahead. What the process before it noted looks an hour old.
#[tokio::test(start_paused = true)]
async fn a_process_with_a_clock_that_is_ahead_ends_no_step_of_the_one_before_it() {
    let world = workers_only(1).await;
    world.deployment("db", 1).pass(MINUTE).await;
    world.faults(|faults, _| faults.deny_evictions("default", "no"));
    let daemon = Daemon::on(&world, "one");
    world.until("w1 is claimed", HOUR, |world| world.node("w1").2).await;
    world.pass(MINUTE * 2).await;
    daemon.kill().await;
    world.clock.set_ahead(HOUR);
    let daemon = Daemon::on(&world, "one");
    world.pass(MINUTE * 10).await;
    assert!(world.node("w1").2, "its drain has not had its half hour: {:#?}", world.tail());
    // A drain that gets nowhere ends all the same, half an hour after this process has begun.
    world.pass(MINUTE * 25).await;
    world.assert_in_service("w1", "v1.35.4");
    daemon.end().await;
}
