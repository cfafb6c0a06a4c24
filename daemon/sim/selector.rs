//! Label and field selectors: the text grammar of requests, and the JSON of `LabelSelector`.

use super::json::{self, text};
use super::object::Object;
use super::resource::Kind;
use serde_json::Value;

/// All requirements must hold; none at all holds for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Labels(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Requirement {
    fn holds(&self, found: Option<&str>) -> bool {
        match &self.test {
            Test::In(values) => found.is_some_and(|found| values.iter().any(|value| value == found)),
            Test::NotIn(values) => found.is_none_or(|found| values.iter().all(|value| value != found)),
            Test::Exists => found.is_some(),
            Test::Absent => found.is_none(),
        }
    }
}

impl Labels {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A label that everything selected carries.
    pub(super) fn pinned(&self) -> Option<(&str, &str)> {
        self.0.iter().find_map(|requirement| match &requirement.test {
            Test::In(values) => match values.as_slice() {
                [value] => Some((requirement.key.as_str(), value.as_str())),
                _ => None,
            },
            Test::NotIn(_) | Test::Exists | Test::Absent => None,
        })
    }

    pub(super) fn matches(&self, object: &Object) -> bool {
        self.0.iter().all(|requirement| requirement.holds(object.label(&requirement.key)))
    }

    /// Whether a map of labels, such as a pod template's, would be selected.
    pub(super) fn matches_map(&self, labels: Option<&Value>) -> bool {
        self.0.iter().all(|requirement| {
            requirement.holds(labels.and_then(|labels| labels.get(&requirement.key)).and_then(Value::as_str))
        })
    }

    /// Reads `a=b,c in (d,e),!f`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        split_outside_brackets(text)
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(requirement)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Reads a `LabelSelector`. Absent selects nothing, and so does one that cannot be read.
    pub(super) fn from_json(selector: Option<&Value>) -> Option<Self> {
        let selector = selector.filter(|selector| selector.is_object())?;
        let equal = json::pairs(selector, &["matchLabels"])
            .map(|(key, value)| Requirement { key: key.to_owned(), test: Test::In(vec![value.to_owned()]) });
        let mut all: Vec<_> = equal.collect();
        for expression in json::list(selector, &["matchExpressions"]) {
            all.push(expression_requirement(expression)?);
        }
        Some(Self(all))
    }
}

/// One entry of `matchExpressions`; also what node affinity is written in.
fn expression_requirement(expression: &Value) -> Option<Requirement> {
    let values: Vec<_> =
        json::list(expression, &["values"]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let test = match text(expression, &["operator"]) {
        "In" => Test::In(values),
        "NotIn" => Test::NotIn(values),
        "Exists" => Test::Exists,
        "DoesNotExist" => Test::Absent,
        _ => return None,
    };
    Some(Requirement { key: text(expression, &["key"]).to_owned(), test })
}

/// Whether a node answers a term of required node affinity.
pub(super) fn node_term_matches(term: &Value, node: &Object) -> bool {
    let labels = json::list(term, &["matchExpressions"])
        .iter()
        .all(|item| expression_requirement(item).is_some_and(|wanted| wanted.holds(node.label(&wanted.key))));
    let fields = json::list(term, &["matchFields"])
        .iter()
        .all(|item| expression_requirement(item).is_some_and(|wanted| wanted.holds(Some(&node.key.name))));
    labels && fields
}

fn split_outside_brackets(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    text.split(|letter: char| {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    })
    .map(str::trim)
    .collect()
}

fn requirement(part: &str) -> Result<Requirement, String> {
    let make = |key: &str, test| Ok(Requirement { key: key.trim().to_owned(), test });
    if let Some(key) = part.strip_prefix('!') {
        return make(key, Test::Absent);
    }
    if let Some((key, set)) = set_form(part, " notin ") {
        return make(key, Test::NotIn(set?));
    }
    if let Some((key, set)) = set_form(part, " in ") {
        return make(key, Test::In(set?));
    }
    if let Some((key, value)) = part.split_once("!=") {
        return make(key, Test::NotIn(vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return make(key, Test::In(vec![value.trim().to_owned()]));
    }
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    if !part.is_empty() && part.chars().all(plain) {
        return make(part, Test::Exists);
    }
    Err(format!("unable to parse requirement: found '{part}', expected: in, notin, =, ==, !=, gt, lt"))
}

/// `key in (a,b)`: the key, and the values or what is wrong with them.
fn set_form<'a>(part: &'a str, word: &str) -> Option<(&'a str, Result<Vec<String>, String>)> {
    let (key, rest) = part.split_once(word).or_else(|| {
        let bare = format!("{}(", word.trim_end());
        part.find(&bare).map(|place| {
            (part.get(..place).unwrap_or_default(), part.get(place + bare.len() - 1..).unwrap_or_default())
        })
    })?;
    let inner = rest.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let values = inner
        .map(|inner| inner.split(',').map(|value| value.trim().to_owned()).collect())
        .ok_or_else(|| format!("unable to parse requirement: found '{}' expected: '('", rest.trim()));
    Some((key, values))
}

/// Field selectors: `path=value` and `path!=value`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields(Vec<(String, bool, String)>);

impl Fields {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value that a field must have, where the selector pins it.
    pub(super) fn pinned(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(path, equal, _)| *equal && path == field).map(|(_, _, value)| value.as_str())
    }

    pub(super) fn parse(text: &str, kind: Kind) -> Result<Self, String> {
        let mut all = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (path, equal, value) = if let Some((path, value)) = part.split_once("!=") {
                (path, false, value)
            } else if let Some((path, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (path, true, value)
            } else {
                return Err(format!("invalid selector: '{part}'; can't understand '{part}'"));
            };
            if !served(kind, path) {
                return Err(format!("field label not supported: {path}"));
            }
            all.push((path.to_owned(), equal, value.to_owned()));
        }
        Ok(Self(all))
    }

    pub(super) fn matches(&self, object: &Object) -> bool {
        self.0.iter().all(|(path, equal, value)| (field(object, path) == *value) == *equal)
    }
}

fn served(kind: Kind, path: &str) -> bool {
    let own: &[&str] = match kind {
        Kind::Pod => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        Kind::Node => &["spec.unschedulable"],
        Kind::CoreEvent | Kind::Event => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        Kind::Secret => &["type"],
        Kind::Namespace => &["status.phase"],
        Kind::Job => &["status.successful"],
        Kind::ReplicaSet => &["status.replicas"],
        _ => &[],
    };
    matches!(path, "metadata.name" | "metadata.namespace") || own.contains(&path)
}

fn field(object: &Object, path: &str) -> String {
    match (path, object.pod()) {
        ("metadata.name", _) => object.key.name.to_string(),
        ("metadata.namespace", _) => object.key.namespace.to_string(),
        ("spec.nodeName", Some(pod)) => pod.node.to_string(),
        ("status.phase", Some(pod)) => pod.phase.name().to_owned(),
        ("spec.unschedulable", _) => object.node().is_some_and(|node| node.unschedulable).to_string(),
        _ => plain_field(object.tree(), path),
    }
}

fn plain_field(tree: &Value, path: &str) -> String {
    let keys: Vec<_> = match path {
        "status.successful" => vec!["status", "succeeded"],
        "source" => vec!["source", "component"],
        other => other.split('.').collect(),
    };
    match json::at(tree, &keys) {
        Some(Value::String(found)) => found.clone(),
        None | Some(Value::Null) if matches!(path, "status.successful" | "status.replicas") => "0".to_owned(),
        None | Some(Value::Null) if path == "spec.hostNetwork" => "false".to_owned(),
        None | Some(Value::Null) => String::new(),
        Some(found) => found.to_string(),
    }
}
