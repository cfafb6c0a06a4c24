//! `PodDisruptionBudgets`: what their status says, and whether they can ever allow a disruption. The arithmetic is
//! that of the disruption controller (`pkg/controller/disruption` of Kubernetes).

use std::collections::BTreeMap;

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::convert::revision;
use super::shared::Shared;
use crate::model::desired::{Operator, Requirement, Selector};
use crate::model::live::{Budget, Id};
use crate::model::text::one_line;

pub(super) fn convert(object: &PodDisruptionBudget, shared: &mut Shared) -> Option<((Id, Id), Budget)> {
    let meta = &object.metadata;
    let spec = object.spec.as_ref()?;
    let status = object.status.as_ref();
    let key = (shared.id(meta.namespace.as_deref()?), shared.id(meta.name.as_deref()?));
    let observed =
        status.is_some_and(|status| status.observed_generation.unwrap_or(0) >= meta.generation.unwrap_or(0));
    let budget = Budget {
        resource_version: revision(meta.resource_version.as_deref().unwrap_or_default()),
        // A null selector matches no pod, an empty one matches every pod of the namespace (policy/v1).
        selector: spec.selector.as_ref().map(selector),
        disruptions_allowed: status.and_then(|status| status.disruptions_allowed).unwrap_or(0),
        current_healthy: status.and_then(|status| status.current_healthy).unwrap_or(0),
        desired_healthy: status.and_then(|status| status.desired_healthy).unwrap_or(0),
        expected: status.and_then(|status| status.expected_pods).unwrap_or(0),
        observed,
        sync_failed: status
            .and_then(|status| status.conditions.as_ref())
            .into_iter()
            .flatten()
            .any(is_sync_failed),
        always_allow_unhealthy: spec.unhealthy_pod_eviction_policy.as_deref() == Some("AlwaysAllow"),
        disrupted: status
            .and_then(|status| status.disrupted_pods.as_ref())
            .into_iter()
            .flatten()
            .map(|(pod, _)| Id::from(pod.as_str()))
            .collect(),
        never: without_bounds(spec).or_else(|| not_computed(status)).or_else(|| {
            status.filter(|_| observed).and_then(|status| never(spec, status.expected_pods.unwrap_or(0)))
        }),
    };
    Some((key, budget))
}

/// Why a budget without a bound never allows a disruption: the disruption controller then expects no pods
/// (`getExpectedPodCount`), and from zero pods none may go.
fn without_bounds(spec: &PodDisruptionBudgetSpec) -> Option<String> {
    let none = spec.min_available.is_none() && spec.max_unavailable.is_none();
    none.then(|| "it has neither minAvailable nor maxUnavailable, so no pod may ever go".to_owned())
}

/// Why a budget allows nothing that the disruption controller cannot compute: it does not know how many pods to expect,
/// often because their owner has no scale subresource.
fn not_computed(status: Option<&PodDisruptionBudgetStatus>) -> Option<String> {
    let failed = status?.conditions.iter().flatten().find(|condition| is_sync_failed(condition))?;
    Some(format!("Kubernetes cannot compute it, so it allows nothing: {}", one_line(&failed.message)))
}

fn is_sync_failed(condition: &Condition) -> bool {
    condition.type_ == "DisruptionAllowed" && condition.status == "False" && condition.reason == "SyncFailed"
}

/// Why this budget can never allow a disruption of a workload of this size; `None` if it can.
fn never(spec: &PodDisruptionBudgetSpec, expected: i32) -> Option<String> {
    if expected <= 0 {
        // The bounds say so for any number of pods.
        let none = spec.max_unavailable.as_ref().filter(|max| matches!(show(max).as_str(), "0" | "0%"))?;
        return Some(format!("maxUnavailable {} allows none to go", show(none)));
    }
    if let Some(max) = &spec.max_unavailable {
        let allowed = resolve(max, expected)?;
        return (allowed <= 0)
            .then(|| format!("maxUnavailable {} of {expected} pods allows none to go", show(max)));
    }
    let min = spec.min_available.as_ref()?;
    let needed = resolve(min, expected)?;
    (needed >= expected)
        .then(|| format!("minAvailable {} of {expected} pods leaves none that may go", show(min)))
}

/// A count, or a percentage of `of` rounded up: the disruption controller rounds both bounds up.
fn resolve(bound: &IntOrString, of: i32) -> Option<i32> {
    match bound {
        IntOrString::Int(count) => Some(*count),
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
            i32::try_from((i64::from(of) * percent + 99) / 100).ok()
        }
    }
}

fn show(bound: &IntOrString) -> String {
    match bound {
        IntOrString::Int(count) => count.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}

fn selector(selector: &LabelSelector) -> Selector {
    // A pair in matchLabels equals an In with one value (meta/v1). Stored as a pair, it takes a quarter of the
    // memory.
    let pair = |(key, value): (&String, &String)| Requirement {
        key: key.clone(),
        operator: Operator::In,
        values: vec![value.clone()],
    };
    let requirement =
        |r: &k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement| Requirement {
            key: r.key.clone(),
            operator: match r.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                _ => Operator::DoesNotExist,
            },
            values: r.values.clone().unwrap_or_default(),
        };
    let pairs = selector.match_labels.iter().flatten().map(pair);
    let requirements = selector.match_expressions.iter().flatten().map(requirement);
    Selector { match_labels: BTreeMap::new(), match_expressions: pairs.chain(requirements).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(min: Option<IntOrString>, max: Option<IntOrString>) -> PodDisruptionBudgetSpec {
        PodDisruptionBudgetSpec { min_available: min, max_unavailable: max, ..Default::default() }
    }

    #[test]
    fn a_selector_selects_what_kubernetes_says_it_does() {
        let selects = |text: serde_json::Value, labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(key, value)| (Id::from(*key), Id::from(*value))).collect();
            selector(&serde_json::from_value(text).unwrap()).selects(&labels)
        };
        let expression = |operator: &str, values: &[&str]| {
            let requirement = serde_json::json!({"key": "app", "operator": operator, "values": values});
            serde_json::json!({"matchExpressions": [requirement]})
        };
        let both = || serde_json::json!({"matchLabels": {"app": "web", "tier": "front"}, "matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]});
        for (text, labels, selected) in [
            (serde_json::json!({}), &[][..], true),
            (serde_json::json!({"matchLabels": {"app": "web"}}), &[("app", "web"), ("x", "y")], true),
            (serde_json::json!({"matchLabels": {"app": "web"}}), &[("app", "cart")], false),
            (serde_json::json!({"matchLabels": {"app": "web"}}), &[], false),
            (both(), &[("app", "web"), ("tier", "front")], true),
            (both(), &[("app", "web")], false),
            (both(), &[("app", "web"), ("tier", "front"), ("x", "")], false),
            (expression("In", &["web", "cart"]), &[("app", "cart")], true),
            (expression("NotIn", &["web"]), &[], true),
            (expression("NotIn", &["web"]), &[("app", "web")], false),
            (expression("Exists", &[]), &[("app", "")], true),
            (expression("DoesNotExist", &[]), &[("app", "")], false),
        ] {
            assert_eq!(selects(text.clone(), labels), selected, "{text} of {labels:?}");
        }
    }

    #[test]
    fn a_budget_without_bounds_never_allows_anything_whatever_its_status_says() {
        for (min, max, blocked) in [(None, None, true), (Some(1), None, false), (None, Some(1), false)] {
            let object = PodDisruptionBudget {
                metadata: serde_json::from_value(serde_json::json!({"name": "a", "namespace": "s"})).unwrap(),
                spec: Some(spec(min.map(IntOrString::Int), max.map(IntOrString::Int))),
                status: None,
            };
            let (_, budget) = convert(&object, &mut Shared::default()).unwrap();
            assert_eq!(budget.never.is_some(), blocked, "{min:?} {max:?}");
        }
    }

    #[test]
    fn a_budget_that_cannot_be_computed_allows_nothing() {
        let convert_with = |conditions: serde_json::Value| {
            let object = serde_json::json!({
                "metadata": {"name": "a", "namespace": "s", "generation": 1},
                "spec": {"maxUnavailable": 1, "selector": {}},
                "status": {"observedGeneration": 1, "expectedPods": 0, "disruptionsAllowed": 0, "currentHealthy": 3,
                    "desiredHealthy": 2, "conditions": conditions},
            });
            convert(&serde_json::from_value(object).unwrap(), &mut Shared::default()).unwrap().1.never
        };
        let condition = |status: &str, reason: &str| {
            serde_json::json!([{"type": "DisruptionAllowed", "status": status, "reason": reason,
                "message": "StrimziPodSet does not implement the scale subresource", "lastTransitionTime": "2026-11-23T12:00:00Z"}])
        };
        let never = convert_with(condition("False", "SyncFailed"));
        assert!(never.is_some_and(|why| why.contains("StrimziPodSet does not implement")), "it is not told");
        assert_eq!(convert_with(condition("False", "InsufficientPods")), None);
        assert_eq!(convert_with(condition("True", "SufficientPods")), None);
    }

    #[test]
    fn a_budget_that_can_never_allow_anything_is_known_beforehand() {
        let int = |n| Some(IntOrString::Int(n));
        let share = |s: &str| Some(IntOrString::String(s.to_owned()));
        for (min, max, pods, blocked) in [
            (int(1), None, 1, true),
            (int(1), None, 2, false),
            (int(3), None, 3, true),
            (share("51%"), None, 2, true),
            (share("50%"), None, 2, false),
            (share("100%"), None, 7, true),
            (None, int(0), 5, true),
            (None, share("0%"), 5, true),
            (None, int(1), 1, false),
            (None, share("1%"), 3, false),
            (int(1), None, 0, false),
            (None, int(0), 0, true),
            (None, share("0%"), 0, true),
            (None, int(1), 0, false),
        ] {
            assert_eq!(
                never(&spec(min.clone(), max.clone()), pods).is_some(),
                blocked,
                "{min:?} {max:?} of {pods}"
            );
        }
    }
}
