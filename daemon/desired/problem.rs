//! A problem in a file that people wrote: where it is, what is wrong, and what to write instead. Everything is
//! bounded and safe to print, because a file may be hostile and its text ends up on terminals, in commits and on the
//! dashboard. It knows nothing of YAML or of the meaning of keys.

use std::fmt;

use serde::Serialize;

use crate::model::text::{UNSEEN, harmless};

/// How many problems are kept per file; a person fixes the first few and runs the check again.
pub(super) const MAX_PER_FILE: usize = 50;

/// How many problems are kept per commit: what a pull request comment can hold.
pub(super) const MAX_PER_COMMIT: usize = 500;

/// How many problems are given to one cluster: what its status can hold. A broken policy is given to every cluster.
pub(super) const MAX_PER_CLUSTER: usize = 50;

/// How many characters of a source line are shown: what fits beside its number on a wide terminal.
const SHOWN_LINE: usize = 120;

/// How many characters are shown before the column if a line is cut on its left.
const SHOWN_BEFORE: usize = 40;

/// How many characters of the user's text a message repeats.
const SHOWN_TEXT: usize = 60;

/// The longest message or fix, in characters; a chain of long names may not make it longer.
const SHOWN_MESSAGE: usize = 600;

/// One thing that is wrong, at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    pub file: String,
    /// From 1; `None` if the file as a whole is meant.
    pub line: Option<u32>,
    /// From 1, in characters.
    pub column: Option<u32>,
    pub message: String,
    /// What to write or do instead; `None` if that is unknown.
    pub fix: Option<String>,
    /// True if the message says the fix too, so that people need no line for it.
    #[serde(skip)]
    pub fix_is_told: bool,
    /// The line with the problem, as far as it is shown.
    pub source_line: Option<String>,
    /// Where the mark under the shown line begins, and its length.
    #[serde(skip)]
    pub mark: (usize, usize),
}

/// A place in a file: line and column from 1, and how many characters it takes on that line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) width: u32,
}

impl Problem {
    /// A problem of a file as a whole.
    pub(super) fn of(file: &str, message: impl fmt::Display) -> Self {
        Self {
            file: shown(file, SHOWN_LINE),
            line: None,
            column: None,
            message: shown(&message.to_string(), SHOWN_MESSAGE),
            fix: None,
            fix_is_told: false,
            source_line: None,
            mark: (0, 0),
        }
    }

    /// A problem at a place of a text.
    pub(super) fn at(file: &str, text: &str, place: Place, message: impl fmt::Display) -> Self {
        let row = usize::try_from(place.line.saturating_sub(1)).unwrap_or(0);
        let line = text.split('\n').nth(row).unwrap_or("").trim_end_matches('\r');
        let (source, mark) = excerpt(line, place);
        Self {
            line: Some(place.line),
            column: Some(place.column),
            source_line: (!source.trim().is_empty()).then_some(source),
            mark,
            ..Self::of(file, message)
        }
    }

    #[must_use]
    pub(super) fn fixed_by(mut self, fix: impl fmt::Display) -> Self {
        self.fix = Some(shown(&fix.to_string(), SHOWN_MESSAGE));
        self
    }

    /// Place and message in one line, as compilers print them.
    pub fn headline(&self) -> String {
        match (self.line, self.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}: {}", self.file, self.message),
            _ => format!("{}: {}", self.file, self.message),
        }
    }
}

/// Writes the headline, the source line with a mark under the problem, and the fix.
impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.headline())?;
        if let (Some(line), Some(source)) = (self.line, &self.source_line) {
            let (before, width) = self.mark;
            writeln!(out, "{line:>6} | {source}")?;
            writeln!(out, "{:>6} | {:before$}{}", "", "", "^".repeat(width))?;
        }
        match &self.fix {
            Some(_) if self.fix_is_told => Ok(()),
            Some(fix) => writeln!(out, "{:>6} = fix: {fix}", ""),
            None => Ok(()),
        }
    }
}

/// The part of a line around a place, and the mark below it.
fn excerpt(line: &str, place: Place) -> (String, (usize, usize)) {
    let length = line.chars().count();
    let at = usize::try_from(place.column.saturating_sub(1)).unwrap_or(0).min(length);
    let start = if length > SHOWN_LINE { at.saturating_sub(SHOWN_BEFORE) } else { 0 };
    let body: String = line.chars().skip(start).take(SHOWN_LINE).map(excerpted).collect();
    let left = if start > 0 { "…" } else { "" };
    let right = if length > start + SHOWN_LINE { "…" } else { "" };
    let before = at - start + left.chars().count();
    let room = (body.chars().count() + left.chars().count()).saturating_sub(before).max(1);
    let width = usize::try_from(place.width).unwrap_or(1).clamp(1, room);
    (format!("{left}{body}{right}"), (before, width))
}

/// Text of the user as a message repeats it: in backticks, cut, and without anything that moves a cursor.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", shown(text, SHOWN_TEXT))
}

fn shown(text: &str, most: usize) -> String {
    let mut cut: String = text.chars().take(most).map(excerpted).collect();
    if text.chars().nth(most).is_some() {
        cut.push('…');
    }
    cut
}

/// A character of a file as an excerpt shows it: each control character is seen too, because it is often the mistake.
fn excerpted(c: char) -> char {
    match c {
        // A tab is shown as an arrow, one column wide.
        '\t' => '→',
        c if c.is_control() => UNSEEN,
        c => harmless(c),
    }
}

/// The problems of one file while it is read, and the path of keys to the present place.
pub(super) struct Problems<'f> {
    file: &'f str,
    text: &'f str,
    path: Vec<(String, Place)>,
    found: Vec<Problem>,
    count: usize,
}

impl<'f> Problems<'f> {
    pub(super) fn new(file: &'f str, text: &'f str) -> Self {
        Self { file, text, path: Vec::new(), found: Vec::new(), count: 0 }
    }

    /// Adds a problem. The message begins with the path of keys, so it can be read on its own.
    pub(super) fn push(&mut self, place: Place, message: impl fmt::Display) {
        self.note(|file, text, path| Problem::at(file, text, place, format_args!("{path}{message}")));
    }

    pub(super) fn push_fix(&mut self, place: Place, message: impl fmt::Display, fix: impl fmt::Display) {
        self.note(|file, text, path| {
            Problem::at(file, text, place, format_args!("{path}{message}")).fixed_by(fix)
        });
    }

    /// Adds a problem whose fix is to write another word: the one that was most likely meant.
    pub(super) fn push_meant(&mut self, place: Place, message: impl fmt::Display, meant: &str) {
        self.note(|file, text, path| {
            let message = format_args!("{path}{message}; did you mean `{meant}`?");
            let problem = Problem::at(file, text, place, message).fixed_by(format_args!("write `{meant}`"));
            Problem { fix_is_told: true, ..problem }
        });
    }

    /// Adds a problem of the file as a whole.
    pub(super) fn push_file(&mut self, message: impl fmt::Display) {
        self.note(|file, _, _| Problem::of(file, message));
    }

    fn note(&mut self, problem: impl FnOnce(&str, &str, &str) -> Problem) {
        self.count += 1;
        if self.found.len() < MAX_PER_FILE {
            let path = self.path();
            let path = if path.is_empty() { path } else { format!("{path}: ") };
            self.found.push(problem(self.file, self.text, &path));
        }
    }

    /// `spec.nodePools[1].soak`
    pub(super) fn path(&self) -> String {
        self.path.iter().fold(String::new(), |mut path, (name, _)| {
            if !path.is_empty() && !name.starts_with('[') {
                path.push('.');
            }
            path.push_str(name);
            path
        })
    }

    /// Reads something below a key or an item.
    pub(super) fn within<T>(
        &mut self,
        name: impl Into<String>,
        place: Place,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.path.push((name.into(), place));
        let answer = read(self);
        self.path.pop();
        answer
    }

    /// Where the innermost key or item is.
    pub(super) fn here(&self) -> Option<Place> {
        self.path.last().map(|(_, place)| *place)
    }

    /// How many problems there were so far, those that are not kept included.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn into_list(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| (problem.line, problem.column));
        if self.count > self.found.len() {
            let more = self.count - self.found.len();
            self.found.push(Problem::of(
                self.file,
                format_args!("{more} more problems in this file are not shown"),
            ));
        }
        self.found
    }
}

/// Cuts a list to what may be shown; the last entry says how many are missing.
pub(super) fn capped(mut problems: Vec<Problem>, most: usize) -> Vec<Problem> {
    let more = problems.len().saturating_sub(most);
    if more > 0 {
        problems.truncate(most);
        problems.push(Problem::of("desired-state", format_args!("{more} more problems are not shown")));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: u32, column: u32, width: u32) -> Place {
        Place { line, column, width }
    }

    #[test]
    fn a_problem_prints_like_a_compilers() {
        let problem =
            Problem::at("policies/a.yaml", "x: 1\r\n  y: 22\r\n", place(2, 6, 2), "no").fixed_by("write 3");
        assert_eq!(
            problem.to_string(),
            "policies/a.yaml:2:6: no\n     2 |   y: 22\n       |      ^^\n       = fix: write 3\n"
        );
    }

    #[test]
    fn a_long_line_is_cut_around_its_column() {
        let line = format!("{}X{}", "a".repeat(600_000), "b".repeat(600_000));
        let problem = Problem::at("f", &line, place(1, 600_001, 900_000), "no");
        let source = problem.source_line.clone().unwrap();
        assert!(
            source.starts_with("…a") && source.ends_with("b…") && source.chars().count() <= SHOWN_LINE + 2
        );
        assert_eq!(source.chars().nth(problem.mark.0), Some('X'));
        assert!(problem.to_string().len() < 1_000);
    }

    #[test]
    fn what_drives_a_terminal_is_replaced() {
        let problem = Problem::at("f\u{1b}[2J", "\ta\u{1b}[31m\u{202e}", place(1, 2, 1), quoted("\u{7}\n"));
        assert_eq!(problem.source_line.as_deref(), Some("→a\u{fffd}[31m\u{fffd}"));
        assert_eq!(problem.headline(), "f\u{fffd}[2J:1:2: `\u{fffd}\u{fffd}`");
    }

    #[test]
    fn a_place_outside_the_text_is_still_printed() {
        for (text, at) in [("", place(9, 9, 9)), ("ab", place(1, 40, 3)), ("ab", place(0, 0, 0))] {
            assert!(Problem::at("f", text, at, "no").to_string().starts_with("f:"));
        }
    }

    #[test]
    fn problems_are_counted_when_they_are_no_longer_kept() {
        let mut problems = Problems::new("f", "a");
        (0..10_000).for_each(|_| problems.push(place(1, 1, 1), "no"));
        let list = problems.into_list();
        assert_eq!(list.len(), MAX_PER_FILE + 1);
        assert_eq!(list.last().unwrap().message, "9950 more problems in this file are not shown");
    }
}
