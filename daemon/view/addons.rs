//! The addons that a plan would move, and what each changes.

use std::collections::BTreeSet;

use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use crate::model::addon::{AddonWhen, AddonWork};
use crate::model::decision::Reason;
use crate::model::helm::HelmMove;
use crate::model::manifest::{FieldChange, ManifestsMove, ObjectRef};
use crate::model::plan;
use crate::model::text::plain;

/// An addon that would move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddonChange {
    pub name: String,
    pub from: String,
    pub to: String,
    /// In which stage of its hop it moves.
    pub when: AddonWhen,
    /// Which of the hops its step belongs to, counted from one.
    pub hop: usize,
    /// The version whose rendering its objects are compared with; absent if they are compared with the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared_with: Option<String>,
    pub diff: AddonDiff,
    pub risks: Vec<Reason>,
}

/// What an addon's move changes, object by object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddonDiff {
    pub added: Vec<ObjectChange>,
    pub changed: Vec<ObjectChange>,
    pub removed: Vec<ObjectChange>,
}

impl AddonDiff {
    /// `with 1 object added, 2 changed`.
    pub(super) fn words(&self) -> String {
        let count = |changes: &[ObjectChange]| {
            changes.iter().map(|change| &change.object).collect::<BTreeSet<_>>().len()
        };
        let counts = [("added", &self.added), ("changed", &self.changed), ("deleted", &self.removed)];
        let told =
            counts.into_iter().map(|(word, changes)| (word, count(changes))).filter(|(_, many)| *many > 0);
        let told: Vec<String> = told
            .enumerate()
            .map(|(index, (word, many))| match (index, many) {
                (0, 1) => format!("1 object {word}"),
                (0, many) => format!("{many} objects {word}"),
                (_, many) => format!("{many} {word}"),
            })
            .collect();
        format!("with {}", told.join(", "))
    }
}

/// One field of one object; of an object that is added or removed, the object as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectChange {
    /// `deployment/kube-system/coredns`.
    pub object: String,
    /// `container coredns: image`; `None` for the object as a whole.
    pub field: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
}

pub(super) fn addons_of(plan: &plan::Plan) -> Vec<AddonChange> {
    let of_stage = |stage: &plan::Stage| {
        let when = stage.kind.when_addons_move()?;
        let moves = stage.steps.iter().filter_map(|step| step.work.addon().cloned());
        Some(moves.map(move |mv| (when, stage.hop, mv)).collect::<Vec<_>>())
    };
    let moves = plan.stages.iter().filter_map(of_stage).flatten();
    let change = |(when, hop, mv): (AddonWhen, usize, plan::AddonMove)| {
        let object = format!("addon/{}", mv.name);
        let follows = mv.helm().is_some_and(|of| of.follows);
        let diff = match mv.change {
            AddonWork::Image(of) => {
                let changed = ObjectChange {
                    object: of.workload.to_string(),
                    field: Some(format!("container {}: image", of.container)),
                    from: Some(of.image_from),
                    to: Some(of.image),
                };
                AddonDiff { changed: vec![changed], ..AddonDiff::default() }
            }
            AddonWork::Manifests(of) => objects_of(&of),
            AddonWork::Helm(of) => release_of(&of, (&mv.from, &mv.to)),
        };
        AddonChange {
            risks: plan.risks.iter().filter(|risk| risk.object == object).cloned().collect(),
            diff,
            compared_with: follows.then(|| mv.from.clone()),
            name: mv.name,
            from: mv.from,
            to: mv.to,
            when,
            hop: hop + 1,
        }
    };
    moves.map(change).collect()
}

/// The objects that are added, changed field by field, and removed.
fn objects_of(mv: &ManifestsMove) -> AddonDiff {
    let whole =
        |object: &ObjectRef| ObjectChange { object: object.to_string(), field: None, from: None, to: None };
    let fields = |object: &ObjectRef| match mv.diffs.get(object) {
        Some(changes) if !changes.is_empty() => {
            let of_field = |change: &FieldChange| ObjectChange {
                object: object.to_string(),
                field: Some(change.field.clone()),
                from: change.from.clone(),
                to: change.to.clone(),
            };
            changes.iter().map(of_field).collect()
        }
        _ => vec![whole(object)],
    };
    AddonDiff {
        added: mv.added.iter().map(whole).collect(),
        changed: mv.changed.iter().flat_map(fields).collect(),
        removed: mv.removed.iter().map(whole).collect(),
    }
}

/// The release itself, and what its chart changes of its objects.
fn release_of(mv: &HelmMove, (from, to): (&str, &str)) -> AddonDiff {
    let mut diff = objects_of(&mv.objects);
    let is_there = mv.follows || mv.revision.is_some();
    let release = ObjectChange {
        object: mv.release.to_string(),
        field: Some(format!("chart {}: version", mv.objects.folder)),
        from: is_there.then(|| from.to_owned()),
        to: Some(to.to_owned()),
    };
    if is_there && from == to {
        let field = Some("the chart's content or its values".to_owned());
        diff.changed.insert(0, ObjectChange { field, from: None, to: None, ..release });
    } else if is_there {
        diff.changed.insert(0, release);
    } else {
        diff.added.insert(0, ObjectChange { field: None, to: None, ..release });
    }
    diff
}

/// What an addon's move changes, as `diff` writes it.
pub(super) fn difference(addon: &AddonChange) -> Vec<String> {
    let diff = &addon.diff;
    let mut lines: Vec<String> = Vec::new();
    lines.extend(addon.compared_with.iter().map(|version| {
        format!(
            "# the rendering of {} compared with that of {}; its step compares it with the cluster",
            plain(&addon.to),
            plain(version)
        )
    }));
    lines.extend(diff.added.iter().map(|change| format!("+ {} is added", plain(&change.object))));
    for change in &diff.changed {
        let object = plain(&change.object);
        if let Some(field) = &change.field {
            lines.push(format!("{object}, {}", plain(field)));
            lines.extend(both(change.from.as_deref(), change.to.as_deref()));
        } else {
            lines.push(format!("{object} changes in nothing but the version that it notes"));
        }
    }
    lines.extend(diff.removed.iter().map(|change| format!("- {} is deleted", plain(&change.object))));
    lines
}

/// How many equal lines are shown around those that differ.
const AROUND: usize = 2;

/// The two values of a field; of values with several lines only those that differ, and some around them.
fn both(from: Option<&str>, to: Option<&str>) -> Vec<String> {
    let lines = |text: Option<&str>| text.is_some_and(|text| text.trim_end().contains('\n'));
    if lines(from) || lines(to) {
        let (from, to) = (from.unwrap_or_default(), to.unwrap_or_default());
        let diff = TextDiff::from_lines(from, to);
        let mut shown = Vec::new();
        for group in diff.grouped_ops(AROUND) {
            for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
                let mark = match change.tag() {
                    ChangeTag::Delete => '-',
                    ChangeTag::Insert => '+',
                    ChangeTag::Equal => ' ',
                };
                shown.push(format!("{mark} {}", plain(change.value().trim_end_matches('\n'))));
            }
        }
        return shown;
    }
    let marked = |mark: &'static str, text: Option<&str>| text.map(|text| format!("{mark} {}", plain(text)));
    marked("-", from).into_iter().chain(marked("+", to)).collect()
}
