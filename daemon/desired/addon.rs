//! Reads `spec.addons`: what moves with the cluster besides Kubernetes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::defaults;
use super::fields::{Fields, list};
use super::helm::{chart_version, helm};
use super::problem::{Place, Problems, quoted};
use super::tree::YamlNode;
use super::values::{choice, is_name, length, name, text};
use super::via::{ReadVersion, check_via, no_via, requires, via};
use crate::model::addon::{
    Addon, AddonImage, AddonManifests, AddonSource, AddonWhen, OnFailure, WorkloadKind, WorkloadRef,
};
use crate::model::helm::AddonHelm;
use crate::model::image::image_complaint;

/// More addons than any cluster has.
const MOST: usize = 100;

const WHEN: [(&str, AddonWhen); 3] = [
    ("beforeControlPlane", AddonWhen::BeforeControlPlane),
    ("afterControlPlane", AddonWhen::AfterControlPlane),
    ("afterNodes", AddonWhen::AfterNodes),
];

const ON_FAILURE: [(&str, OnFailure); 2] = [("halt", OnFailure::Halt), ("rollback", OnFailure::Rollback)];

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
    same_folder(&all, problems);
    follow(&all, problems);
    for placed in &mut all {
        placed.addon.after = std::mem::take(&mut placed.after).into_iter().map(|(name, _)| name).collect();
    }
    Some(all.into_iter().map(|placed| placed.addon).collect())
}

fn addon(name: Option<String>, place: Place, mut fields: Fields<'_, '_, '_>) -> Option<PlacedAddon> {
    let read: ReadVersion = match (fields.has("manifests"), fields.has("helm")) {
        (true, _) => any_version,
        (false, true) => chart_version,
        (false, false) => addon_version,
    };
    let version = fields.required("version", "version: \"v1.12.1\"", read);
    let between = fields.optional("via", |node, problems| via(node, problems, read));
    if let (Some(between), Some(version)) = (&between, &version) {
        check_via(between, version, fields.problems());
    }
    let source = source(name.as_deref(), &mut fields);
    if let Some(source) = source.as_ref().filter(|source| fields.has("via") && !source.has_versions()) {
        let place = fields.place_of("via");
        no_via(source, place, fields.problems());
    }
    let when = fields.optional("when", |node, problems| choice(&WHEN, &[], node, problems));
    let after = fields.optional("after", |node, problems| {
        list(node, problems, |node, problems| Some((super::values::name(node, problems)?, node.place)))
    });
    let requires = fields.optional("requires", requires);
    let timeout = fields
        .optional("timeout", |node, problems| length(defaults::SHORTEST, defaults::LONGEST, node, problems));
    let on_failure = fields.optional("onFailure", |node, problems| choice(&ON_FAILURE, &[], node, problems));
    fields.close(&[]);
    let addon = Addon {
        name: name?,
        version: version?,
        via: between.unwrap_or_default().into_iter().map(|(via, _)| via).collect(),
        source: source?,
        when: when.unwrap_or_default(),
        after: Vec::new(),
        requires,
        timeout: timeout.unwrap_or(defaults::ADDON_TIMEOUT),
        on_failure: on_failure.unwrap_or_default(),
    };
    Some(PlacedAddon { addon, place, after: after.unwrap_or_default() })
}

/// What the addon consists of: exactly one of the keys that say so.
fn source(name: Option<&str>, fields: &mut Fields<'_, '_, '_>) -> Option<AddonSource> {
    let take_over = fields.optional("takeOver", |node, problems| {
        list(node, problems, |node, problems| text(node, problems).map(str::to_owned))
    });
    let place = fields.place_of("takeOver");
    let kinds = ["image", "manifests", "helm"].into_iter().filter(|kind| fields.has(kind));
    if let [first, second, ..] = kinds.collect::<Vec<_>>().as_slice() {
        let place = fields.place_of(second);
        fields.problems().push_fix(
            place,
            format_args!("an addon has one of `{first}` and `{second}`, not both"),
            "remove one of them, or write two addons",
        );
    }
    if fields.has("manifests") {
        fields.optional("image", addon_image);
        fields.optional("helm", |node, problems| helm(name, node, problems));
        let folder = fields.optional("manifests", folder)?;
        return Some(AddonSource::Manifests(AddonManifests {
            folder,
            label: String::new(),
            take_over: take_over.unwrap_or_default().into(),
            objects: [].into(),
            all: Arc::default(),
            digest: String::new(),
        }));
    }
    if fields.has("takeOver") && !fields.has("helm") {
        fields.problems().push_fix(
            place,
            "`takeOver` is about the fields of manifests and of charts",
            "remove it: who else wrote the image of an addon is told, and is no conflict",
        );
    }
    if fields.has("helm") {
        fields.optional("image", addon_image);
        let helm = fields.optional("helm", |node, problems| helm(name, node, problems))?;
        return Some(AddonSource::Helm(AddonHelm {
            take_over: take_over.unwrap_or_default().into(),
            ..helm
        }));
    }
    let example = "image: {namespace: kube-system, workload: deployment/coredns, container: coredns}";
    fields.required("image", example, addon_image).map(AddonSource::Image)
}

/// A folder of manifests: `addons/coredns`.
fn folder(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let text = text(node, problems)?;
    let rest = text.strip_prefix("addons/").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    if let Some(rest) = rest.filter(|rest| rest.split('/').all(is_name)) {
        return Some(format!("addons/{rest}"));
    }
    problems.push_fix(
        node.place,
        format_args!("{} is no folder of manifests", quoted(text)),
        "write it as in `addons/coredns`: it lies in the cluster's folder, below `addons`, and its name has a-z, 0-9 and `-`",
    );
    None
}

/// The longest version that people write.
const LONGEST_VERSION: usize = 200;

/// Any text in one line.
fn any_version(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let version = text(node, problems)?;
    if version.len() <= LONGEST_VERSION && !version.contains(|c: char| c.is_control() || c == '/') {
        return Some(version.to_owned());
    }
    problems.push_fix(
        node.place,
        format_args!("{} is no version", quoted(version)),
        format_args!("write one line of at most {LONGEST_VERSION} bytes, without `/`"),
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
        let Some(image) = addon.source.image() else { continue };
        let key = (&image.workload, image.container.as_str());
        if let Some(other) = seen.insert(key, &addon.name) {
            problems.push_fix(
                *place,
                format_args!(
                    "the addons {} and {} name the same container of {}",
                    quoted(other),
                    quoted(&addon.name),
                    image.workload
                ),
                "remove one of them",
            );
        }
    }
}

/// A file belongs to one addon.
fn same_folder(all: &[PlacedAddon], problems: &mut Problems<'_>) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for PlacedAddon { addon, place, .. } in all {
        let Some(manifests) = addon.source.manifests() else { continue };
        let within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let folder = manifests.folder.as_str();
        if let Some((_, other)) =
            seen.iter().find(|(known, _)| within(known, folder) || within(folder, known))
        {
            problems.push_fix(
                *place,
                format_args!("the addons {} and {} have the same files", quoted(other), quoted(&addon.name)),
                "give each addon a folder of its own",
            );
        }
        seen.push((folder, &addon.name));
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
