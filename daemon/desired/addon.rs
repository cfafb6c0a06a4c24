//! Reads `spec.addons`: what moves with the cluster besides Kubernetes.

use std::collections::BTreeMap;

use super::defaults;
use super::fields::{Fields, list};
use super::problem::{Place, Problems, quoted};
use super::tree::YamlNode;
use super::values::{choice, is_name, length, name, text};
use crate::model::addon::{Addon, AddonImage, AddonWhen, WorkloadKind, WorkloadRef, requirement};
use crate::model::image::image_complaint;

/// More addons than any cluster has.
const MOST: usize = 100;

const WHEN: [(&str, AddonWhen); 3] = [
    ("beforeControlPlane", AddonWhen::BeforeControlPlane),
    ("afterControlPlane", AddonWhen::AfterControlPlane),
    ("afterNodes", AddonWhen::AfterNodes),
];

/// Keys of an addon that are designed and not built.
const LATER: [&str; 5] = ["manifests", "helm", "via", "onFailure", "takeOver"];

/// An addon, and where its file says what it follows.
struct PlacedAddon {
    addon: Addon,
    place: Place,
    after: Vec<(String, Place)>,
}

pub(super) fn addons(node: &YamlNode, problems: &mut Problems<'_>) -> Option<Vec<Addon>> {
    let mut names = BTreeMap::<String, u32>::new();
    let mut all = list(node, problems, |node, problems| {
        let place = problems.here().unwrap_or(node.place);
        let mut fields = Fields::open(node, problems)?;
        let name = fields.required("name", "name: coredns", |node, problems| {
            let name = name(node, problems)?;
            if let Some(line) = names.insert(name.clone(), node.place.line) {
                problems.push_fix(
                    node.place,
                    format_args!("an addon called {} is already in line {line}", quoted(&name)),
                    "give every addon its own name",
                );
            }
            Some(name)
        });
        addon(name, place, fields)
    })?;
    if all.len() > MOST {
        problems.push(node.place, format_args!("there are {} addons; at most {MOST} are read", all.len()));
        return None;
    }
    same_container(&all, problems);
    follow(&all, problems);
    for placed in &mut all {
        placed.addon.after = std::mem::take(&mut placed.after).into_iter().map(|(name, _)| name).collect();
    }
    Some(all.into_iter().map(|placed| placed.addon).collect())
}

fn addon(name: Option<String>, place: Place, mut fields: Fields<'_, '_, '_>) -> Option<PlacedAddon> {
    let version = fields.required("version", "version: \"v1.12.1\"", addon_version);
    let later = LATER[..2].iter().any(|key| fields.has(key));
    let image = if later {
        None
    } else {
        fields.required(
            "image",
            "image: {namespace: kube-system, workload: deployment/coredns, container: coredns}",
            addon_image,
        )
    };
    let when = fields.optional("when", |node, problems| choice(&WHEN, &[], node, problems));
    let after = fields.optional("after", |node, problems| {
        list(node, problems, |node, problems| Some((super::values::name(node, problems)?, node.place)))
    });
    let requires = fields.optional("requires", |node, problems| {
        let mut fields = Fields::open(node, problems)?;
        let kubernetes = fields.required("kubernetes", "kubernetes: \">=1.33 <1.37\"", kubernetes);
        fields.close(&[]);
        kubernetes
    });
    let timeout = fields
        .optional("timeout", |node, problems| length(defaults::SHORTEST, defaults::LONGEST, node, problems));
    fields.close(&LATER);
    let addon = Addon {
        name: name?,
        version: version?,
        image: image?,
        when: when.unwrap_or_default(),
        after: Vec::new(),
        requires,
        timeout: timeout.unwrap_or(defaults::ADDON_TIMEOUT),
    };
    Some(PlacedAddon { addon, place, after: after.unwrap_or_default() })
}

/// A range of versions of Kubernetes.
fn kubernetes(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let range = text(node, problems)?;
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

/// A tag as written, or a digest.
fn addon_version(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let version = text(node, problems)?;
    let joint = if version.starts_with("sha256:") { '@' } else { ':' };
    if image_complaint(&format!("image{joint}{version}")).is_none() {
        return Some(version.to_owned());
    }
    problems.push_fix(
        node.place,
        format_args!("{} is neither a tag nor a digest of an image", quoted(version)),
        "write the tag as the registry has it, as in \"v1.12.1\", or sha256: and 64 hex digits",
    );
    None
}

fn addon_image(node: &YamlNode, problems: &mut Problems<'_>) -> Option<AddonImage> {
    let mut fields = Fields::open(node, problems)?;
    let namespace = fields.required("namespace", "namespace: kube-system", name);
    let workload = fields.required("workload", "workload: deployment/coredns", workload);
    let container = fields.required("container", "container: coredns", name);
    let repository = fields.optional("repository", repository);
    fields.close(&[]);
    let (kind, name) = workload?;
    let workload = WorkloadRef { kind, namespace: namespace?, name };
    Some(AddonImage { workload, container: container?, repository })
}

/// `deployment/coredns`.
fn workload(node: &YamlNode, problems: &mut Problems<'_>) -> Option<(WorkloadKind, String)> {
    let text = text(node, problems)?;
    let (kind, name) = text.split_once('/').unwrap_or(("", text));
    let known = WorkloadKind::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(kind));
    // Names of workloads are DNS subdomains: labels with dots between them.
    if let Some(kind) = known.filter(|_| name.len() <= MAX_SUBDOMAIN && name.split('.').all(is_name)) {
        return Some((kind, name.to_owned()));
    }
    problems.push_fix(
        node.place,
        format_args!("{} is no workload", quoted(text)),
        "write its kind and name, as in `deployment/coredns`, `daemonset/cilium` or `statefulset/db`",
    );
    None
}

const MAX_SUBDOMAIN: usize = 253;

fn repository(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let repository = text(node, problems)?;
    if image_complaint(&format!("{repository}:tag")).is_none() {
        return Some(repository.to_owned());
    }
    problems.push_fix(
        node.place,
        format_args!("{} is no image without its tag", quoted(repository)),
        "write it as in `registry.example.com/coredns/coredns`; the tag is the `version`",
    );
    None
}

/// Two addons that name one container would undo each other.
fn same_container(all: &[PlacedAddon], problems: &mut Problems<'_>) {
    let mut seen: BTreeMap<(&WorkloadRef, &str), &str> = BTreeMap::new();
    for PlacedAddon { addon, place, .. } in all {
        let key = (&addon.image.workload, addon.image.container.as_str());
        if let Some(other) = seen.insert(key, &addon.name) {
            problems.push_fix(
                *place,
                format_args!(
                    "the addons {} and {} name the same container of {}",
                    quoted(other),
                    quoted(&addon.name),
                    addon.image.workload
                ),
                "remove one of them",
            );
        }
    }
}

/// What `after` names has to exist, to come no later, and to lead to no circle.
fn follow(all: &[PlacedAddon], problems: &mut Problems<'_>) {
    let by_name: BTreeMap<&str, &PlacedAddon> =
        all.iter().map(|placed| (placed.addon.name.as_str(), placed)).collect();
    for placed in all {
        for (name, place) in &placed.after {
            match by_name.get(name.as_str()) {
                None => problems.push_fix(
                    *place,
                    format_args!("there is no addon called {}", quoted(name)),
                    "name another addon of this file",
                ),
                Some(other) if other.addon.when > placed.addon.when => problems.push_fix(
                    *place,
                    format_args!(
                        "{} moves {}, and {} moves {}",
                        quoted(name),
                        other.addon.when.words(),
                        quoted(&placed.addon.name),
                        placed.addon.when.words()
                    ),
                    "change `when` of one of them",
                ),
                Some(_) if leads_to(name, &placed.addon.name, &by_name) => problems.push_fix(
                    *place,
                    format_args!("{} comes after {}, too", quoted(name), quoted(&placed.addon.name)),
                    "remove one of the two",
                ),
                Some(_) => {}
            }
        }
    }
}

/// True if an addon is, or follows, another one, directly or by others.
fn leads_to(from: &str, to: &str, by_name: &BTreeMap<&str, &PlacedAddon>) -> bool {
    let (mut next, mut seen) = (vec![from], Vec::new());
    while let Some(name) = next.pop() {
        if name == to {
            return true;
        }
        if seen.contains(&name) {
            continue;
        }
        seen.push(name);
        next.extend(
            by_name
                .get(name)
                .into_iter()
                .flat_map(|placed| placed.after.iter().map(|(name, _)| name.as_str())),
        );
    }
    false
}
