//! A secret text: it has no `Display`, and its `Debug` shows nothing of it.

use std::fmt;

use serde::Deserialize;

#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that sends it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A text of somebody else without this one: a program may print what it was given.
    pub(super) fn taken_out_of(&self, text: &str) -> String {
        // Shorter values are words like `true` and `1`, which are no secrets and would make the text unreadable.
        if self.0.len() < 5 { text.to_owned() } else { text.replace(&self.0, "(hidden)") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(hidden)")
    }
}
