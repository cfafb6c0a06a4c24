//! One name for one thing: no two functions of a room have the same name, and no two types of the program. A name that
//! may be used twice is a row of a table, with the reason; a row that excuses nothing is a mistake as well.

use std::collections::BTreeMap;

use super::program;
use super::source::{Source, lies_in};

/// Functions that several files of a room have: the room, the name, and the reason.
const SHARED_FUNCTIONS: &[(&str, &str, &str)] = &[
    ("gate", "answers", "the one question that each gate answers"),
    ("work", "advance", "how each kind of work takes a step further"),
    ("work", "prove", "what each kind of work hands to the move of a node, as the proof of its end"),
    ("cli", "run", "how each command is run"),
];

/// Rooms whose types need other names only among themselves, and the reason.
const OWN_WORDS: &[(&str, &str)] =
    &[("sim", "it imports nothing of ours, and speaks the words of Kubernetes and its own")];

/// Types that may have the name of another one: where they are, the names, and the reason.
const SHARED_TYPES: &[(&str, &[&str], &str)] = &[
    (
        "view/plan",
        &["Change", "Drain", "Hop", "Plan", "Pool", "Script", "Stage", "StageKind", "Step"],
        "the JSON of a plan, each type under the name of the one that it shows",
    ),
    ("view/facts", &["Component", "Fact"], "the same for the facts of its steps"),
    ("cli", &["Args"], "the arguments of one command, known to nobody but the command and its caller"),
];

fn room(source: &Source) -> &str {
    source.module.split('/').next().unwrap_or_default()
}

/// Functions of one room that share a name, and rows of the table that excuse none.
fn functions(sources: &[&Source], shared: &[(&str, &str, &str)]) -> Vec<String> {
    let mut places: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
    for source in sources {
        for (line, name) in source.declared().functions {
            places.entry((room(source), name)).or_default().push(format!("{}:{line}", source.path));
        }
    }
    places.retain(|_, places| places.len() > 1);
    let idle: Vec<String> = shared
        .iter()
        .filter(|(room, name, _)| places.remove(&(*room, (*name).to_owned())).is_none())
        .map(|(room, name, _)| {
            format!("the table excuses `{name}` of `{room}`, and no two functions share it")
        })
        .collect();
    let broken = places
        .iter()
        .map(|((room, name), places)| format!("`{room}` has several `{name}`: {}", places.join(", ")));
    broken.chain(idle).collect()
}

/// Types that share a name, and rows of the table that excuse none.
fn types(sources: &[&Source], own_words: &[(&str, &str)], shared: &[(&str, &[&str], &str)]) -> Vec<String> {
    let mut places: BTreeMap<(&str, String), Vec<(&Source, usize)>> = BTreeMap::new();
    for source in sources {
        let own = own_words.iter().map(|(room, _)| *room).find(|own| *own == room(source));
        for (line, name) in source.declared().types {
            places.entry((own.unwrap_or_default(), name)).or_default().push((source, line));
        }
    }
    places.retain(|_, places| places.len() > 1);
    let excused = |part: &str, name: &str| {
        let all = places.get(&("", name.to_owned()));
        all.is_some_and(|places| places.iter().any(|(source, _)| lies_in(&source.module, part)))
    };
    let rows = shared.iter().flat_map(|(part, names, _)| names.iter().map(move |name| (*part, *name)));
    let idle: Vec<String> = rows
        .clone()
        .filter(|(part, name)| !excused(part, name))
        .map(|(part, name)| format!("the table excuses `{name}` of `{part}`, and no two types share it"))
        .collect();
    let broken = places.iter().filter_map(|((_, name), places)| {
        let counts = |source: &Source| {
            !rows.clone().any(|(part, excused)| excused == name && lies_in(&source.module, part))
        };
        let counted: Vec<String> = places
            .iter()
            .filter(|(source, _)| counts(source))
            .map(|(source, line)| format!("{}:{line}", source.path))
            .collect();
        (counted.len() > 1).then(|| format!("several types are called `{name}`: {}", counted.join(", ")))
    });
    broken.chain(idle).collect()
}

#[test]
fn no_two_functions_of_a_room_share_a_name() {
    let found = functions(&program(), SHARED_FUNCTIONS);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn no_two_types_share_a_name() {
    let found = types(&program(), OWN_WORDS, SHARED_TYPES);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

fn files(files: &[(&str, &str)]) -> Vec<Source> {
    files.iter().map(|(path, text)| Source::new(&format!("daemon/{path}.rs"), text)).collect()
}

/// The complaints about two made-up files of `serve`.
fn about_functions(a: &str, b: &str, shared: &[(&str, &str, &str)]) -> Vec<String> {
    let files = files(&[("serve/a", a), ("serve/b/c", b)]);
    functions(&files.iter().collect::<Vec<_>>(), shared)
}

#[test]
fn functions_that_share_a_name_are_found() {
    for b in [
        "fn go() {}",
        "pub(super) async fn go<T>(t: T) -> impl Copy { t }",
        "impl T { fn stop() {} }\nfn go() {}",
        "fn stop(f: impl Fn()) -> impl Fn() { f }\nfn go() {}",
        "mod inner {\n    fn go() {}\n}",
    ] {
        let found = about_functions("fn go() {}", b, &[]);
        assert_eq!(found.len(), 1, "{b}: {found:?}");
        assert!(found[0].starts_with("`serve` has several `go`: daemon/serve/a.rs:1, "), "{found:?}");
    }
    assert_eq!(about_functions("fn go() {}", "fn go() {}", &[("serve", "go", "why")]), [""; 0]);
}

#[test]
fn functions_of_other_names_rooms_or_types_are_not_complained_about() {
    for b in [
        "fn stop() {}",
        "struct T(fn(u8));\nimpl T { fn go() {} }",
        "#[derive(Clone)]\nimpl<T> Tr for Vec<T> where T: Fn() { fn stop() { fn go() {} } }",
        "pub trait Tr { fn go(&self); }",
        "// fn go() {}",
        "#[cfg(test)]\nmod tests {\n    fn go() {}\n}",
    ] {
        assert_eq!(about_functions("fn go() {}", b, &[]), [""; 0], "{b}");
    }
    let rooms = files(&[("serve/a", "fn go() {}"), ("plan/a", "fn go() {}")]);
    assert_eq!(functions(&rooms.iter().collect::<Vec<_>>(), &[]), [""; 0]);
}

#[test]
fn a_row_that_excuses_no_function_is_found() {
    for row in [("serve", "stop", "why"), ("plan", "go", "why"), ("serve", "halt", "why")] {
        let found = about_functions("fn go() {}\nfn stop() {}", "fn go() {}", &[("serve", "go", "why"), row]);
        assert_eq!(found.len(), 1, "{row:?}: {found:?}");
    }
}

/// The complaints about made-up files, where `sim` has its own words and one type of `view` may be shared.
fn about_types(all: &[(&str, &str)]) -> Vec<String> {
    let files = files(all);
    types(&files.iter().collect::<Vec<_>>(), &[("sim", "why")], &[("view/plan", &["Shown"], "why")])
}

#[test]
fn types_that_share_a_name_are_found() {
    let shown = [("view/plan", "struct Shown;"), ("model/plan", "struct Shown;")];
    for text in ["struct T;", "pub(crate) enum T<'a> {}", "pub trait T {}", "type T = u8;"] {
        for (a, b) in [("serve/a", "plan/a"), ("serve/a", "serve/b"), ("sim/a", "sim/b")] {
            let found = about_types(&[&shown[..], &[(a, "struct T;"), (b, text)]].concat());
            assert_eq!(found.len(), 1, "{a}, {b}, {text}: {found:?}");
            assert!(found[0].starts_with("several types are called `T`: "), "{found:?}");
        }
        let found = about_types(&[&shown[..], &[("sim/a", "struct T;"), ("plan/a", text)]].concat());
        assert_eq!(found, [""; 0], "sim has its own words");
    }
    let found = about_types(&[&shown[..], &[("serve/a", "struct Shown;")]].concat());
    assert_eq!(found.len(), 1, "the row excuses the type of the page only: {found:?}");
}

#[test]
fn types_of_other_names_and_of_tests_are_not_complained_about() {
    let shown = [("view/plan", "struct Shown;"), ("model/plan", "struct Shown;")];
    for text in [
        "struct U(T);",
        "impl Iterator for U { type T = u8; }",
        "trait U { type T; }",
        "#[cfg(test)]\nmod tests {\n    struct T;\n}",
        "const TEXT: &str = \"struct T;\";",
    ] {
        let found = about_types(&[&shown[..], &[("serve/a", "struct T;"), ("plan/a", text)]].concat());
        assert_eq!(found, [""; 0], "{text}");
    }
}

#[test]
fn a_row_that_excuses_no_type_is_found() {
    for all in [
        &[("model/plan", "struct Shown;"), ("view/plan", "struct Hidden;")][..],
        &[("view/plan", "struct Shown;")],
        &[("view/plan", "struct Shown;"), ("sim/a", "struct Shown;")],
    ] {
        assert_eq!(about_types(all).len(), 1, "{all:?}");
    }
}
