//! The nouns that every stage shares: data and small arithmetic. Every module may import it; it imports none of ours.
//! Each term is defined here once, and no stage has its own copy.

pub mod addon;
mod addon_question;
mod addon_workload;
mod asked;
mod budgets;
mod chart;
pub mod claim;
pub mod decision;
pub mod desired;
pub mod effect;
pub mod entry;
pub mod evidence;
mod fact;
mod failure;
pub mod group;
pub mod helm;
pub mod image;
pub mod installed;
mod jobs;
pub mod label_value;
mod labels;
pub mod live;
pub mod manifest;
mod moment;
pub mod names;
pub mod nodes;
mod object;
mod overlay;
pub mod plan;
mod pod;
pub mod rollout;
mod room;
mod seconds;
pub mod servers;
pub mod state;
pub mod taint;
pub mod text;
pub mod time;
mod uid;
pub mod version;
mod via;
pub mod work;
mod workload;

/// A commit of the desired or of the status branch, in full hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct CommitId(pub String);

impl CommitId {
    /// The first twelve digits, for people and for names.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl std::fmt::Display for CommitId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}
