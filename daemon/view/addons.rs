//! The addons that a plan would move, and what each changes.

use serde::Serialize;

use crate::model::addon::AddonWhen;
use crate::model::decision::Reason;
use crate::model::plan;
use crate::model::text::plain;

/// An addon that would move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddonChange {
    pub name: String,
    pub from: String,
    pub to: String,
    pub when: AddonWhen,
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

/// One field of one object; of an object that is added or removed, the whole of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectChange {
    /// `deployment/kube-system/coredns`.
    pub object: String,
    /// `container coredns: image`.
    pub field: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

pub(super) fn addons_of(plan: &plan::Plan) -> Vec<AddonChange> {
    let of_stage = |stage: &plan::Stage| {
        let when = stage.kind.when_addons_move()?;
        let moves = stage.steps.iter().filter_map(|step| step.work.addon().cloned());
        Some(moves.map(move |mv| (when, mv)).collect::<Vec<_>>())
    };
    let moves = plan.stages.iter().filter_map(of_stage).flatten();
    let change = |(when, mv): (AddonWhen, plan::AddonMove)| {
        let object = format!("addon/{}", mv.name);
        let changed = ObjectChange {
            object: mv.workload.to_string(),
            field: format!("container {}: image", mv.container),
            from: Some(mv.image_from),
            to: Some(mv.image),
        };
        AddonChange {
            risks: plan.risks.iter().filter(|risk| risk.object == object).cloned().collect(),
            diff: AddonDiff { changed: vec![changed], ..AddonDiff::default() },
            name: mv.name,
            from: mv.from,
            to: mv.to,
            when,
        }
    };
    moves.map(change).collect()
}

/// What an addon's move changes, as `diff` writes it.
pub(super) fn difference(addon: &AddonChange) -> Vec<String> {
    let mut lines = Vec::new();
    let marked = |mark: &str, text: &Option<String>| {
        text.iter().map(|text| format!("{mark} {}", plain(text))).collect::<Vec<_>>()
    };
    let diff = &addon.diff;
    for change in diff.added.iter().chain(&diff.changed).chain(&diff.removed) {
        lines.push(format!("{}, {}", plain(&change.object), plain(&change.field)));
        lines.extend(marked("-", &change.from));
        lines.extend(marked("+", &change.to));
    }
    lines
}
