//! The pages that people and programs read about a cluster, as data: a plan, where it stands, why it waits, what was
//! done, when it may be disrupted. Each page is a type that one function makes from the program's values. Its JSON is
//! the type as it is; text and Markdown are written from it. A page loads nothing and does not know the time.

mod addons;
pub mod beside;
pub mod cluster;
mod facts;
mod fleet;
pub mod history;
pub mod ink;
pub mod plan;
mod plan_page;
pub mod plans;
pub mod standing;
pub mod status;
mod table;
pub mod why;
pub mod windows;

use ink::Ink;
use serde::Serialize;

/// A page for people and for programs.
pub trait Page: Serialize {
    /// For people: whole lines, the last one with its line end.
    fn draw(&self, ink: Ink) -> String;

    /// The same without colours.
    fn text(&self) -> String {
        self.draw(Ink::Plain)
    }

    /// For programs: the page's own type, all times in UTC.
    fn json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}
