//! Which file imports which, and whether that leads in a circle. A name that a room passes on by `pub use` leads to
//! the file that it comes from, so that a `mod.rs` which is only a table of contents is no link of a chain.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::source::{Named, Source};

/// Files by their place in the tree of modules: `serve`, `serve/ask`; the root of the library is the empty word.
struct Files<'a>(BTreeMap<String, &'a Source>);

/// Every circle of imports among these files which leads through several rooms, or lies in one of `rooms`.
pub fn cycles(sources: &[&Source], rooms: &[&str]) -> Vec<String> {
    let files = Files(sources.iter().map(|source| (place(source), *source)).collect());
    let imports: BTreeMap<&str, BTreeSet<String>> =
        files.0.iter().map(|(place, source)| (place.as_str(), files.imports(place, source))).collect();
    let mut known = BTreeSet::new();
    let mut found = Vec::new();
    for place in files.0.keys() {
        let Some(circle) = circle(&imports, place).filter(|_| !known.contains(place)) else { continue };
        let crossed: BTreeSet<&str> = circle.iter().map(|place| room(place)).collect();
        if crossed.len() > 1 || crossed.iter().all(|room| rooms.contains(room)) {
            found.push(format!("files import each other in a circle: {} → {place}", circle.join(" → ")));
        }
        known.extend(circle);
    }
    found
}

fn place(source: &Source) -> String {
    match source.module.as_str() {
        "lib" => String::new(),
        module => module.strip_suffix("/mod").unwrap_or(module).to_owned(),
    }
}

fn room(place: &str) -> &str {
    place.split('/').next().unwrap_or_default()
}

/// The shortest way from a file back to itself, if there is one.
fn circle(imports: &BTreeMap<&str, BTreeSet<String>>, from: &str) -> Option<Vec<String>> {
    let mut waiting = VecDeque::from([vec![from.to_owned()]]);
    let mut visited = BTreeSet::new();
    while let Some(way) = waiting.pop_front() {
        for next in imports.get(way.last()?.as_str()).into_iter().flatten() {
            if next == from {
                return Some(way);
            }
            if visited.insert(next) {
                waiting.push_back([way.clone(), vec![next.clone()]].concat());
            }
        }
    }
    None
}

impl Files<'_> {
    /// The files that a file imports from. What it only passes on is no import, unless it uses it as well.
    fn imports(&self, place: &str, source: &Source) -> BTreeSet<String> {
        let used = |named: &&Named| !named.passed_on || named.name == "*" || source.uses(&named.name);
        let named = source.named();
        let leads_to = named.iter().filter(used).filter_map(|named| self.origin(place, &named.path, 0));
        leads_to.filter(|found| found != place).collect()
    }

    /// The file that a path leads to, as it is written in the file at `place`.
    fn origin(&self, place: &str, path: &[String], depth: usize) -> Option<String> {
        let mut at: Vec<&str> = place.split('/').filter(|part| !part.is_empty()).collect();
        let mut rest = path.iter().map(String::as_str).peekable();
        if rest.next_if(|first| ["crate", "windlass"].contains(first)).is_some() {
            at.clear();
        }
        while rest.next_if(|first| *first == "super").is_some() {
            at.pop()?;
        }
        let rest: Vec<&str> = rest.filter(|part| *part != "self").collect();
        let inside = |down: usize| [at.as_slice(), &rest[..down]].concat().join("/");
        // The longest beginning of the path that is a file; what follows is a name in that file.
        let down = (0..=rest.len()).rev().find(|down| self.0.contains_key(&inside(*down)))?;
        let here = inside(down);
        let source = self.0.get(&here)?;
        let named = source.named();
        let passed_on =
            rest.get(down).and_then(|name| named.iter().find(|named| named.passed_on && named.name == *name));
        // Deeper than any chain of names that are passed on; a chain without an end is no Rust.
        match passed_on.filter(|_| depth < 8) {
            Some(further) => self.origin(&here, &further.path, depth + 1).or(Some(here)),
            None => Some(here),
        }
    }
}
