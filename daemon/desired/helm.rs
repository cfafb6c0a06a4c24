//! Reads `helm` of an addon, and gives it the files that the commit has of its chart and its values.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::fields::Fields;
use super::problem::{Problem, Problems, quoted};
use super::tree::{MANIFESTS, Value, YamlNode, documents_within};
use super::values::{is_name, name, text};
use crate::model::addon::AddonSource;
use crate::model::desired::Cluster;
use crate::model::helm::{AddonHelm, Chart, ChartFiles, ReleaseRef};
use crate::model::label_value::label_value;

/// The namespace of a release whose file names none: where the addons of clusters are.
const NAMESPACE: &str = "kube-system";

/// The longest name of a release; Helm allows no longer one.
const LONGEST_RELEASE: usize = 53;

/// A file below `addons` that is not one of manifests.
pub(super) struct ChartFile<'f> {
    path: &'f str,
    text: Result<&'f str, Box<Problem>>,
}

impl<'f> ChartFile<'f> {
    pub(super) fn of(path: &'f str, text: Result<&'f str, Box<Problem>>) -> Self {
        Self { path, text }
    }
}

/// Reads the mapping of `helm`. The name of the addon is that of the release where none is given.
pub(super) fn helm(addon: Option<&str>, node: &YamlNode, problems: &mut Problems<'_>) -> Option<AddonHelm> {
    let mut fields = Fields::open(node, problems)?;
    let (has_repository, has_oci) = (fields.has("repository"), fields.has("oci"));
    if has_repository && has_oci {
        let place = fields.place_of("oci");
        fields.problems().push_fix(
            place,
            "a chart has a repository or a registry, not both",
            "remove one of them",
        );
    }
    let repository = fields.optional("repository", chart_repository);
    let oci = fields.optional("oci", registry);
    let chart = fields.required("chart", "chart: cilium", |node, problems| {
        if has_repository || has_oci { chart_name(node, problems) } else { chart_folder(node, problems) }
    });
    let values = fields.optional("values", values_file);
    let release = fields.optional("release", release);
    if let Some(addon) = addon.filter(|addon| release.is_none() && addon.len() > LONGEST_RELEASE) {
        let place = node.place;
        fields.problems().push_fix(
            place,
            format_args!(
                "the name {} of the addon is too long for a release: at most {LONGEST_RELEASE} bytes",
                quoted(addon)
            ),
            "add `release` with a shorter name",
        );
    }
    let namespace = fields.optional("namespace", name);
    fields.close(&[]);
    let chart = match (has_repository, has_oci) {
        (true, _) => Chart::Repository { url: repository?, name: chart? },
        (false, true) => Chart::Oci(format!("oci://{}/{}", oci?, chart?)),
        (false, false) => Chart::Folder(chart?),
    };
    Some(AddonHelm {
        release: ReleaseRef {
            namespace: namespace.unwrap_or_else(|| NAMESPACE.to_owned()),
            name: release.or_else(|| addon.map(str::to_owned))?,
        },
        chart,
        take_over: [].into(),
        values,
        files: Arc::default(),
        label: String::new(),
        digests: BTreeMap::new(),
    })
}

fn release(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let release = name(node, problems)?;
    if release.len() <= LONGEST_RELEASE {
        return Some(release);
    }
    problems.push(
        node.place,
        format_args!("{} is too long for a release: at most {LONGEST_RELEASE} bytes", quoted(&release)),
    );
    None
}

fn chart_repository(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let url = text(node, problems)?;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
    match host {
        Some(host) if host.contains('@') => problems.push_fix(
            node.place,
            "the address of a chart repository has no user and no password: everybody who reads the repository would see them",
            "write the address alone; a chart that needs credentials comes from a registry (`oci`), for which helm has them where the daemon runs",
        ),
        Some(host) if !host.is_empty() && is_plain(url) => return Some(url.trim_end_matches('/').to_owned()),
        Some(_) | None => problems.push_fix(
            node.place,
            format_args!("{} is no address of a chart repository", quoted(url)),
            "write it as in `https://helm.cilium.io`; a registry is named by `oci`",
        ),
    }
    None
}

fn registry(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let reference = text(node, problems)?;
    let rest = reference.strip_prefix("oci://").unwrap_or(reference).trim_end_matches('/');
    if !rest.is_empty() && is_plain(rest) && !rest.contains("://") && !rest.contains('@') {
        return Some(rest.to_owned());
    }
    problems.push_fix(
        node.place,
        format_args!("{} is no registry", quoted(reference)),
        "write it as in `oci://registry.example.com/charts`, without the chart's name",
    );
    None
}

/// True for text that is one argument without options, spaces and control characters.
fn is_plain(text: &str) -> bool {
    !text.starts_with('-') && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '\'' | '"' | '\\'))
}

fn chart_name(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let chart = text(node, problems)?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !chart.is_empty() && chart.chars().all(legal) && chart.starts_with(|c: char| c.is_ascii_alphanumeric())
    {
        return Some(chart.to_owned());
    }
    problems.push_fix(
        node.place,
        format_args!("{} is no name of a chart", quoted(chart)),
        "write the chart's name as its repository has it, as in `chart: cilium`",
    );
    None
}

/// `addons/web/chart`.
fn chart_folder(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let folder = text(node, problems)?;
    let trimmed = folder.strip_suffix('/').unwrap_or(folder);
    let inner = trimmed.strip_prefix("addons/").and_then(|rest| rest.strip_suffix("/chart"));
    if inner.is_some_and(|inner| inner.split('/').all(is_name)) {
        return Some(trimmed.to_owned());
    }
    problems.push_fix(
        node.place,
        format_args!("{} is no folder of a chart", quoted(folder)),
        "write `repository` or `oci` beside it, or put the chart into the repository and write `addons/<name>/chart`",
    );
    None
}

/// `addons/web/values.yaml`.
fn values_file(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let path = text(node, problems)?;
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = folder
        .strip_prefix("addons/")
        .filter(|rest| rest.split('/').all(|part| is_name(part) && part != "chart"));
    if folder.is_some() && is_values(file) {
        return Some(path.to_owned());
    }
    problems.push_fix(
        node.place,
        format_args!("{} is no file of values", quoted(path)),
        "write it as in `addons/web/values.yaml`: it lies in the cluster's folder, below `addons`, and is called `values.yaml` or `values-<word>.yaml`",
    );
    None
}

/// True for the names of files with values.
pub(super) fn is_values(file: &str) -> bool {
    let stem = file.strip_suffix(".yaml").unwrap_or_default();
    stem == "values" || stem.strip_prefix("values-").is_some_and(is_name)
}

/// A version that names exactly one chart.
pub(super) fn chart_version(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let version = text(node, problems)?;
    let exact = version.strip_prefix('v').unwrap_or(version);
    if semver::Version::parse(exact).is_ok() {
        return Some(version.to_owned());
    }
    problems.push_fix(
        node.place,
        format_args!("{} does not name one version of a chart", quoted(version)),
        "write all three numbers, as in \"1.18.3\"; a range would let the repository decide what is installed",
    );
    None
}

/// Gives each addon with a chart its files, and reports what no addon has.
pub(super) fn attach_charts(cluster: &mut Cluster, files: &[ChartFile<'_>]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let base = format!("desired-state/{}", cluster.name);
    let file = format!("{base}/cluster.yaml");
    let mut read = vec![false; files.len()];
    let mut releases: BTreeMap<ReleaseRef, String> = BTreeMap::new();
    for addon in &mut cluster.addons {
        let label = label_value(&format!("{}.{}", cluster.name, addon.name)).label;
        let AddonSource::Helm(of) = &mut addon.source else { continue };
        if let Some(other) = releases.insert(of.release.clone(), addon.name.clone()) {
            let text = format!(
                "the addons {} and {} have the same {}",
                quoted(&other),
                quoted(&addon.name),
                of.release
            );
            problems.push(Problem::of(&file, text).fixed_by("give each a `release` of its own"));
        }
        let mut given = ChartFiles::default();
        if let Chart::Folder(folder) = &of.chart {
            let folder = format!("{base}/{folder}/");
            for (file, read) in files.iter().zip(&mut read) {
                let Some(inside) = file.path.strip_prefix(&folder) else { continue };
                *read = true;
                match &file.text {
                    Ok(text) => drop(given.chart.insert(inside.to_owned(), (*text).to_owned())),
                    Err(problem) => problems.push((**problem).clone().fixed_by(
                        "the files of a chart are text here: unpack an archive of another chart into a folder, and keep other files out of it",
                    )),
                }
            }
            problems.extend(wrong_chart(&folder, &addon.version, &given.chart));
        }
        if let Some(values) = &of.values {
            let path = format!("{base}/{values}");
            match files.iter().zip(&mut read).find(|(file, _)| file.path == path) {
                None => {
                    let text = format!("the addon {} has no file {path}", quoted(&addon.name));
                    problems.push(Problem::of(&file, text));
                }
                Some((file, read)) => {
                    *read = true;
                    match &file.text {
                        Ok(text) => {
                            problems.extend(wrong_values(file.path, text));
                            given.values = Some((*text).to_owned());
                        }
                        Err(problem) => problems.push((**problem).clone()),
                    }
                }
            }
        }
        let versions = addon.via.iter().map(|via| &via.version).chain([&addon.version]);
        let digest = |version: &String| digest(version, &label, of, &given);
        of.digests = versions.map(|version| (version.clone(), digest(version))).collect();
        of.files = Arc::new(given);
        of.label = label;
    }
    for (file, _) in files.iter().zip(read).filter(|(_, read)| !read) {
        problems.push(
            Problem::of(file.path, "no addon of the cluster has this file").fixed_by(
                "name it in `helm` of an addon, as in `chart: addons/web/chart` or `values: addons/web/values.yaml`, or remove it",
            ),
        );
    }
    problems
}

/// What keeps the files of a folder from being the chart with this version.
fn wrong_chart(folder: &str, version: &str, files: &BTreeMap<String, String>) -> Option<Problem> {
    let path = format!("{folder}Chart.yaml");
    let Some(text) = files.get("Chart.yaml") else {
        return Some(Problem::of(&path, "the chart has no such file"));
    };
    let mut problems = Problems::new(&path, text);
    let documents = documents_within(text, MANIFESTS, &mut problems);
    let found = documents.first().and_then(|chart| match &chart.value {
        Value::Map(entries) => entries.iter().find(|(key, _)| key.text == "version"),
        _ => None,
    });
    let (place, has) = match found.map(|(_, node)| (node.place, &node.value)) {
        Some((place, Value::Text { text, .. })) => (Some(place), text.as_str()),
        _ => (None, ""),
    };
    if has == version {
        return None;
    }
    let message =
        format!("the chart has the version {}, and its addon asks for {}", quoted(has), quoted(version));
    let problem = match place {
        Some(place) => Problem::at(&path, text, place, message),
        None => Problem::of(&path, message),
    };
    Some(problem.fixed_by("change one of the two: the version in the cluster's file is that of the chart"))
}

/// Values are one mapping; their lines are not repeated, because they may hold secrets.
fn wrong_values(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Problems::new(path, text);
    let documents = documents_within(text, MANIFESTS, &mut problems);
    let is_mapping = |node: &YamlNode| matches!(node.value, Value::Map(_) | Value::Broken | Value::Nothing);
    if documents.len() > 1 || !documents.iter().all(is_mapping) {
        problems.push_file("a file of values is one mapping of keys to values");
    }
    let hidden = |problem: Problem| Problem { source_line: None, ..problem };
    problems.into_list().into_iter().map(hidden).collect()
}

fn digest(version: &str, label: &str, of: &AddonHelm, files: &ChartFiles) -> String {
    let from = match &of.chart {
        Chart::Repository { url, name } => format!("repository {url} {name}"),
        Chart::Oci(reference) => reference.clone(),
        Chart::Folder(folder) => folder.clone(),
    };
    let (release, values) = (of.release.to_string(), files.values.clone().unwrap_or_default());
    let head = [version, label, &release, &from, &values];
    let chart = files.chart.iter().flat_map(|(path, text)| [path.as_str(), text.as_str()]);
    let mut hash = Sha256::new();
    for part in head.into_iter().chain(chart) {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    format!("sha256:{:x}", hash.finalize())
}
