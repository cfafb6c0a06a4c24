//! The plans of several clusters, one below the other.

use std::fmt::Write as _;

use serde::Serialize;

use super::Page;
use super::ink::{Ink, Tone};
use super::plan::PlanPage;
use super::standing::Exit;
use crate::model::text::plain;

/// The plans in the order in which the clusters were named.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct PlansPage(Vec<Planned>);

/// The plan of one cluster, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Planned {
    Plan(Box<PlanPage>),
    None { cluster: String, error: String },
}

impl Planned {
    fn exit(&self) -> Exit {
        match self {
            Self::Plan(page) => page.exit(),
            Self::None { .. } => Exit::Failed,
        }
    }
}

impl PlansPage {
    pub fn of(plans: Vec<Planned>) -> Self {
        Self(plans)
    }

    /// The worst of the clusters.
    pub fn exit(&self) -> Exit {
        self.0.iter().map(Planned::exit).max().unwrap_or(Exit::Failed)
    }

    /// The page for a comment on a pull request.
    pub fn markdown(&self) -> String {
        let one = |plan: &Planned| match plan {
            Planned::Plan(page) => page.markdown(),
            Planned::None { cluster, error } => {
                let mut out = format!("### `{cluster}`: no plan could be made\n\n");
                // An error cannot end a block of indented code.
                for line in error.lines() {
                    let _ = writeln!(out, "    {}", plain(line));
                }
                out
            }
        };
        self.0.iter().map(one).collect::<Vec<_>>().join("\n")
    }
}

impl Page for PlansPage {
    fn draw(&self, ink: Ink) -> String {
        let one = |plan: &Planned| match plan {
            Planned::Plan(page) => page.draw(ink),
            Planned::None { cluster, error } => {
                let mut out = format!("{cluster}  {}\n", ink.paint(Tone::Bad, "no plan could be made"));
                for line in error.lines() {
                    let _ = writeln!(out, "  {}", plain(line));
                }
                out
            }
        };
        self.0.iter().map(one).collect::<Vec<_>>().join("\n")
    }
}
