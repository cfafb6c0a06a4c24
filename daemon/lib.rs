//! Windlass: git says which version each cluster should run, Windlass upgrades the clusters and writes what it did to
//! git.

pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod desired;
pub mod diff;
pub mod execute;
pub mod gate;
pub mod git;
pub mod live;
pub mod model;
pub mod plan;
pub mod provider;
pub mod reconcile;
pub mod record;
pub mod serve;
pub mod sim;
pub mod verify;
pub mod view;
pub mod work;
