//! Converts what a Deployment says of its rollouts. The arithmetic is that of the Deployment controller
//! (`pkg/controller/deployment/util` of Kubernetes).

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::convert::revision;
use crate::model::live::{NoteState, Progress, Rollout, Strategy};
use crate::model::names::{MOVED, MOVING, SURGE};
use crate::model::text::one_line;

pub(super) fn rollout(object: &Deployment) -> Rollout {
    let meta = &object.metadata;
    let annotation = |key: &str| meta.annotations.as_ref().and_then(|all| all.get(key));
    let of_template = object.spec.template.metadata.as_ref().and_then(|meta| meta.annotations.as_ref());
    let marked = meta.labels.as_ref().is_some_and(|labels| labels.contains_key(MOVING));
    let note = annotation(MOVING).filter(|_| marked);
    let note = note
        .map(|text| serde_json::from_str(text).map_or(NoteState::Unreadable, NoteState::Ours))
        .map(Box::new);
    Rollout {
        resource_version: revision(meta.resource_version.as_deref().unwrap_or_default()),
        // Whatever is not a clear wish is none.
        surge: annotation(SURGE).map(|text| text == "true"),
        strategy: strategy(object),
        progress: progress(object),
        moved: of_template.and_then(|all| all.get(MOVED)).map(|text| text.as_str().into()),
        note,
    }
}

fn strategy(object: &Deployment) -> Strategy {
    let spec = &object.spec;
    let strategy = spec.strategy.as_ref();
    if spec.paused == Some(true) {
        return Strategy::Paused;
    }
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
        return Strategy::Recreate;
    }
    let replicas = i64::from(spec.replicas.unwrap_or(1));
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let surge = bound(rolling.and_then(|rolling| rolling.max_surge.as_ref()), replicas, 99);
    let unavailable = bound(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), replicas, 0);
    // Where both come to nothing no rollout could ever go on, so the controller takes one pod.
    let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
    Strategy::Rolling { surge, unavailable }
}

/// A count, or a percentage of the replicas; a quarter of them, if nothing is said. `up` is added before a percentage is divided:
/// `maxSurge` is rounded up, and `maxUnavailable` down.
fn bound(stated: Option<&IntOrString>, replicas: i64, up: i64) -> u32 {
    let count = match stated {
        Some(IntOrString::Int(count)) => i64::from(*count),
        stated => {
            let percent = match stated {
                Some(IntOrString::String(text)) => text.strip_suffix('%').and_then(|text| text.parse().ok()),
                Some(IntOrString::Int(_)) | None => None,
            };
            (percent.unwrap_or(25_i64).saturating_mul(replicas) + up) / 100
        }
    };
    u32::try_from(count).unwrap_or(0)
}

pub(super) fn progress(object: &Deployment) -> Progress {
    let Some(status) = &object.status else { return Progress::Going };
    if status.observed_generation.unwrap_or(0) < object.metadata.generation.unwrap_or(0) {
        return Progress::Going;
    }
    let wanted = object.spec.replicas.unwrap_or(1);
    let counts = [status.replicas, status.updated_replicas, status.available_replicas];
    if counts.iter().all(|count| count.unwrap_or(0) == wanted) {
        return Progress::Complete;
    }
    let conditions = || status.conditions.iter().flatten();
    let is = |of: &DeploymentCondition, kind: &str, status: &str| {
        of.type_.as_deref() == Some(kind) && of.status.as_deref() == Some(status)
    };
    let late = conditions().find(|of| {
        is(of, "Progressing", "False") && of.reason.as_deref() == Some("ProgressDeadlineExceeded")
    });
    let Some(late) = late else { return Progress::Going };
    // A quota or a webhook that refuses the new pod has the cause.
    let cause = conditions().find(|of| is(of, "ReplicaFailure", "True")).unwrap_or(late);
    let words = one_line(cause.message.as_deref().unwrap_or("no message"));
    Progress::Failed(words.trim_end_matches('.').into())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(mut spec: Value, status: &Value) -> Rollout {
        spec["selector"] = json!({});
        spec["template"] = json!({});
        let object = json!({"metadata": {"name": "cart", "generation": 3}, "spec": spec, "status": status});
        rollout(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn the_strategy_is_rounded_as_kubernetes_does() {
        let rolling = |surge, unavailable| Strategy::Rolling { surge, unavailable };
        for (replicas, surge, unavailable, expected) in [
            (1, Value::Null, Value::Null, rolling(1, 0)),
            (3, Value::Null, Value::Null, rolling(1, 0)),
            (4, Value::Null, Value::Null, rolling(1, 1)),
            (4, json!(1), json!(0), rolling(1, 0)),
            (4, json!("10%"), json!("24%"), rolling(1, 0)),
            (5, json!("100%"), json!("20%"), rolling(5, 1)),
            (1, json!(0), json!("25%"), rolling(0, 1)),
            (1, json!("0%"), json!(1), rolling(0, 1)),
        ] {
            let limits = json!({"maxSurge": surge, "maxUnavailable": unavailable});
            let spec = json!({"replicas": replicas, "strategy": {"rollingUpdate": limits}});
            assert_eq!(read(spec.clone(), &json!({})).strategy, expected, "{spec}");
        }
        assert_eq!(read(json!({"strategy": {"type": "Recreate"}}), &json!({})).strategy, Strategy::Recreate);
        assert_eq!(read(json!({"paused": true}), &json!({})).strategy, Strategy::Paused);
    }

    #[test]
    fn a_rollout_is_complete_only_when_its_status_is_of_the_present_template() {
        let status = |seen, counts: [i32; 3], condition: Value| {
            json!({"observedGeneration": seen, "replicas": counts[0], "updatedReplicas": counts[1],
                "availableReplicas": counts[2], "conditions": condition})
        };
        let late = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "it timed out."}]);
        let mut quota = late.clone();
        let refused = json!({"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"});
        quota.as_array_mut().unwrap().push(refused);
        let failed = |text: &str| Progress::Failed(text.into());
        for (status, expected) in [
            (json!({}), Progress::Going),
            (status(3, [2, 2, 2], json!([])), Progress::Complete),
            (status(2, [2, 2, 2], json!([])), Progress::Going),
            (status(3, [3, 2, 2], json!([])), Progress::Going),
            (status(3, [2, 1, 2], json!([])), Progress::Going),
            (status(3, [2, 2, 1], json!([])), Progress::Going),
            (status(3, [3, 1, 2], late.clone()), failed("it timed out")),
            (status(2, [3, 1, 2], late.clone()), Progress::Going),
            (status(3, [2, 2, 2], late), Progress::Complete),
            (status(3, [2, 0, 2], quota), failed("exceeded quota")),
        ] {
            assert_eq!(read(json!({"replicas": 2}), &status).progress, expected, "{status}");
        }
    }

    #[test]
    fn a_note_counts_beside_its_label_only() {
        let note = r#"{"run":"c0ffee-1","step":"general/v1.36.3/w1@1/kubelet","attempt":2,"epoch":7,"at":"2026-11-23T12:00:00Z"}"#;
        for (label, text, kept) in [
            (true, note, Some(true)),
            (false, note, None),
            (true, "{}", Some(false)),
            (true, "", Some(false)),
        ] {
            let mut meta = json!({"annotations": {MOVING: text, SURGE: "yes"}});
            if label {
                meta["labels"] = json!({MOVING: "true"});
            }
            let spec = json!({"selector": {}, "template": {"metadata": {"annotations": {MOVED: "c0ffee-1/general/v1.36.3/w1@1/kubelet/2"}}}});
            let read = rollout(&serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap());
            assert_eq!(read.note.as_deref().map(|note| matches!(note, NoteState::Ours(_))), kept, "{text}");
            assert_eq!(read.readable_note().map(|note| read.follows(note)), kept.filter(|ours| *ours));
            assert_eq!(read.surge, Some(false));
        }
    }
}
