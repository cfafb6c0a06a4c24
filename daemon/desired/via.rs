//! Reads `via` of an addon: the versions between the one that runs and the one that is asked for.

use std::cmp::Ordering;

use super::fields::{Fields, list};
use super::problem::{Place, Problems, quoted};
use super::tree::{Value, YamlNode};
use crate::model::addon::{AddonSource, AddonVia, numbers, requirement};

/// More versions between two than anybody leaves out.
const MOST: usize = 20;

/// How the version of an addon is read.
pub(super) type ReadVersion = fn(&YamlNode, &mut Problems<'_>) -> Option<String>;

/// The versions, each as a text or with what it `requires`. `None` if the list is none.
pub(super) fn via(
    node: &YamlNode,
    problems: &mut Problems<'_>,
    version: ReadVersion,
) -> Option<Vec<(AddonVia, Place)>> {
    let all = list(node, problems, |node, problems| {
        if !matches!(node.value, Value::Map(_)) {
            return Some((AddonVia { version: version(node, problems)?, requires: None }, node.place));
        }
        let mut fields = Fields::open(node, problems)?;
        let read = fields.required("version", "version: \"1.17.9\"", version);
        let place = fields.place_of("version");
        let requires = fields.optional("requires", requires);
        fields.close(&[]);
        Some((AddonVia { version: read?, requires }, place))
    })?;
    if all.len() > MOST {
        problems.push(node.place, format_args!("there are {} versions; at most {MOST} are read", all.len()));
        return None;
    }
    Some(all)
}

/// The versions of Kubernetes with which a version works.
pub(super) fn requires(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let mut fields = Fields::open(node, problems)?;
    let kubernetes = fields.required("kubernetes", "kubernetes: \">=1.33 <1.37\"", kubernetes);
    fields.close(&[]);
    kubernetes
}

/// A range of versions of Kubernetes.
fn kubernetes(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let range = super::values::text(node, problems)?;
    if requirement(range).is_some() {
        return Some(range.to_owned());
    }
    problems.push_fix(
        node.place,
        format_args!("{} is no range of versions", quoted(range)),
        "write it as in \">=1.33 <1.37\": each part with >=, >, <=, < or =, and spaces between the parts",
    );
    None
}

/// The files of a commit are there once, so an addon that lies among them has no versions between.
pub(super) fn no_via(source: &AddonSource, place: Place, problems: &mut Problems<'_>) {
    let (text, or) = match source {
        AddonSource::Manifests(_) => {
            ("an addon by manifests has no `via`: its folder has the content of one version", "")
        }
        AddonSource::Helm(_) => (
            "a chart in the repository has no `via`: its folder has the content of one version",
            "write `repository` or `oci`, or ",
        ),
        AddonSource::Image(_) => return,
    };
    problems.push_fix(
        place,
        text,
        format_args!(
            "{or}commit it version by version, each commit once the run of the one before it has ended"
        ),
    );
}

/// Each version comes once, before the last one, and all go the same way.
pub(super) fn check_via(via: &[(AddonVia, Place)], version: &str, problems: &mut Problems<'_>) {
    let mut seen: Vec<&str> = Vec::with_capacity(via.len());
    let mut way = None;
    let next = via.iter().skip(1).map(|(next, _)| next.version.as_str()).chain([version]);
    for ((AddonVia { version: this, .. }, place), next) in via.iter().zip(next) {
        let order = numbers(next).zip(numbers(this)).map(|(next, this)| next.cmp(&this));
        let order = order.filter(|order| *order != Ordering::Equal);
        if this == version {
            problems.push_fix(
                *place,
                format_args!("{} is the `version` itself", quoted(this)),
                "remove it: `via` has the versions before it",
            );
        } else if seen.contains(&this.as_str()) {
            problems.push_fix(
                *place,
                format_args!("{} is in `via` twice", quoted(this)),
                "remove one of the two",
            );
        } else if order.is_some() && way.is_some() && order != way {
            problems.push_fix(
                *place,
                format_args!("{} does not lie between the versions before and after it", quoted(this)),
                "write the versions in the order in which the addon goes through them",
            );
        }
        seen.push(this);
        way = way.or(order);
    }
}
