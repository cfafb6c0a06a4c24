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

    /// A text of somebody else without this one and without its parts: a program may print what it was given, or what
    /// it took out of that, as of `--password=…` or of a script.
    pub(super) fn taken_out_of(&self, text: &str) -> String {
        let escaped = serde_json::Value::from(self.0.as_str()).to_string();
        let mut parts: Vec<&str> = vec![&self.0, escaped.trim_matches('"')];
        parts.extend(self.0.lines().map(str::trim));
        let ends = |c: char| c.is_whitespace() || ",;'\"`/@&|()<>{}[]".contains(c);
        let mut behind_option = false;
        for word in self.0.split(ends) {
            // `--password …`, and `-p…`
            parts.extend(Some(word).filter(|_| behind_option));
            parts.extend(
                word.strip_prefix('-').and_then(|rest| rest.get(1..)).filter(|_| !word.starts_with("--")),
            );
            behind_option = word.starts_with('-');
            let mut of_word = word.split(['=', ':']);
            // The words of a script say what went wrong. What is given to a name, as in `--password=…`, is hidden, and so
            // is what is no plain word.
            let plain = |word: &&str| {
                word.starts_with('-') || word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
            };
            parts.extend(of_word.next().filter(|word| !plain(word)));
            parts.extend(of_word);
        }
        // Shorter values are words like `true` and `1`, which are no secrets and would make the text unreadable.
        parts.retain(|part| part.len() >= 5);
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        parts.into_iter().fold(text.to_owned(), |text, part| text.replace(part, "(hidden)"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(hidden)")
    }
}
