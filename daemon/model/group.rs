//! What is the same of many objects, once: thirteen nodes that run a newer version are one line.

use super::text::{list, one_line};

/// How many objects of a group are named; the others are counted.
const NAMED: usize = 5;

/// Items that say the same, in the order of the first of them, each with the objects that it is said of.
pub fn grouped<'a, T, S: PartialEq>(
    items: impl IntoIterator<Item = &'a T>,
    said: impl Fn(&'a T) -> S,
    object: impl Fn(&'a T) -> &'a str,
) -> Vec<(&'a T, Vec<&'a str>)> {
    let mut groups: Vec<(S, &T, Vec<&str>)> = Vec::new();
    for item in items {
        let (told, object) = (said(item), object(item));
        match groups.iter_mut().find(|(known, ..)| *known == told) {
            Some((.., objects)) if objects.contains(&object) => {}
            Some((.., objects)) => objects.push(object),
            None => groups.push((told, item, vec![object])),
        }
    }
    groups.into_iter().map(|(_, first, objects)| (first, objects)).collect()
}

/// What is said of these objects, behind their names: `is running` of one, `each is running` of several.
pub fn said_of(text: &str, objects: &[&str]) -> String {
    const VERBS: [&str; 6] = ["is ", "has ", "asks ", "runs ", "bears ", "may "];
    let begins_with_verb = VERBS.iter().any(|verb| text.starts_with(verb));
    if objects.len() > 1 && begins_with_verb { format!("each {text}") } else { text.to_owned() }
}

/// `node/w1`; `nodes w1, w2 and 9 more`; objects of several kinds with their kinds.
pub fn objects_words(objects: &[&str]) -> String {
    if let [only] = objects {
        return one_line(only);
    }
    let split: Option<Vec<(&str, &str)>> = objects.iter().map(|object| object.split_once('/')).collect();
    let same =
        split.filter(|all| all.iter().all(|(kind, _)| Some(kind) == all.first().map(|(kind, _)| kind)));
    match same.as_deref() {
        Some([(kind, _), ..]) => {
            let names: Vec<&str> = same.iter().flatten().map(|(_, name)| *name).collect();
            format!("{}s {}", one_line(kind), list(&names, NAMED))
        }
        Some([]) | None => list(objects, NAMED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_many_is_said_once() {
        let items = [("old", "node/w1"), ("down", "pod/a/b"), ("old", "node/w2"), ("old", "node/w2")];
        let groups = grouped(&items, |item| item.0, |item| item.1);
        let told: Vec<_> = groups.iter().map(|(item, objects)| (item.0, objects_words(objects))).collect();
        assert_eq!(told, [("old", "nodes w1 and w2".to_owned()), ("down", "pod/a/b".to_owned())]);
        let many = ["node/a", "node/b", "node/c", "node/d", "node/e", "node/f", "node/g"];
        assert_eq!(objects_words(&many), "nodes a, b, c, d, e and 2 more");
        assert_eq!(objects_words(&["node/a", "pod/b/c"]), "node/a and pod/b/c");
        assert_eq!(said_of("is running", &["job/a"]), "is running");
        assert_eq!(said_of("is running", &["job/a", "job/b"]), "each is running");
        assert_eq!(said_of("no pool selects it", &many), "no pool selects it");
    }
}
