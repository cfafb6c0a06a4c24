//! What pods ask for and what nodes have: Kubernetes' quantities as whole units (k8s.io/apimachinery, api/resource).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::model::live::{Allocatable, Requests};

/// A processor has so many units, and a unit of memory so many bytes.
const CPU: f64 = 100.0;
const MEMORY: f64 = 4_194_304.0;

const SUFFIXES: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

type Resources = BTreeMap<String, Quantity>;

/// What the scheduler counts for a pod: the sum of its containers, or the most that an init container needs beside those that
/// stay, and the overhead (pkg/api/v1/resource, `PodRequests`). Requests of the whole pod come before those of its containers.
pub(super) fn requests(spec: Option<&v1::PodSpec>) -> Requests {
    let Some(spec) = spec else { return Requests::default() };
    let of = |name: &str, unit: f64| {
        let whole = spec.resources.as_ref().and_then(|of| amount(of.requests.as_ref(), name));
        let needed = whole.unwrap_or_else(|| of_containers(spec, name));
        let overhead = amount(spec.overhead.as_ref(), name).unwrap_or_default();
        let units = ((needed + overhead) * unit).ceil();
        u16::try_from(whole_units(units)).unwrap_or(u16::MAX)
    };
    Requests { cpu: of("cpu", CPU), memory: of("memory", 1.0 / MEMORY) }
}

fn of_containers(spec: &v1::PodSpec, name: &str) -> f64 {
    let request = |container: &v1::Container| {
        let requests = container.resources.as_ref().and_then(|of| of.requests.as_ref());
        amount(requests, name).unwrap_or_default()
    };
    let (mut stay, mut most) = (0.0_f64, 0.0_f64);
    for container in spec.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() == Some("Always") {
            stay += request(container);
            most = most.max(stay);
        } else {
            most = most.max(stay + request(container));
        }
    }
    most.max(stay + spec.containers.iter().map(request).sum::<f64>())
}

pub(super) fn allocatable(status: Option<&v1::NodeStatus>) -> Allocatable {
    let all = status.and_then(|status| status.allocatable.as_ref());
    let of = |name: &str, unit: f64| whole_units((amount(all, name).unwrap_or_default() * unit).floor());
    Allocatable { cpu: of("cpu", CPU), memory: of("memory", 1.0 / MEMORY), pods: of("pods", 1.0) }
}

fn amount(of: Option<&Resources>, name: &str) -> Option<f64> {
    let text = of?.get(name)?.0.as_str();
    let suffix = SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)));
    let (digits, factor) = suffix.unwrap_or((text, 1.0));
    let number: f64 = digits.parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number * factor)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates at both ends")]
fn whole_units(units: f64) -> u32 {
    units as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: serde_json::Value) -> Requests {
        requests(Some(&serde_json::from_value(spec).unwrap()))
    }

    #[test]
    fn a_pod_asks_for_what_the_scheduler_counts() {
        let of = |cpu: &str, memory: &str| serde_json::json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}});
        let mut sidecar = of("100m", "8Mi");
        sidecar["restartPolicy"] = "Always".into();
        for (spec, cpu, memory) in [
            (serde_json::json!({"containers": [{"name": "c"}]}), 0, 0),
            (serde_json::json!({"containers": [of("500m", "1Gi"), of("1", "1")]}), 150, 257),
            (serde_json::json!({"containers": [of("5m", "4Mi")], "initContainers": [of("2", "0")]}), 200, 1),
            (
                serde_json::json!({"containers": [of("1", "8Mi")], "initContainers": [sidecar, of("1e1", "4M")]}),
                1010,
                4,
            ),
            (serde_json::json!({"containers": [of("1", "0")], "overhead": {"cpu": "0.25"}}), 125, 0),
            (serde_json::json!({"containers": [of("9000", "9Ti")]}), u16::MAX, u16::MAX),
            (serde_json::json!({"containers": [of("x", "-1")]}), 0, 0),
        ] {
            assert_eq!(pod(spec.clone()), Requests { cpu, memory }, "{spec}");
        }
    }

    #[test]
    fn a_node_has_what_it_says() {
        let status = serde_json::json!({"allocatable": {"cpu": "3920m", "memory": "7935Mi", "pods": "110"}});
        let status: v1::NodeStatus = serde_json::from_value(status).unwrap();
        let has = allocatable(Some(&status));
        assert_eq!(has, Allocatable { cpu: 392, memory: 1983, pods: 110 });
        assert_eq!(allocatable(None), Allocatable::default());
        let asks = Requests { cpu: 392, memory: 1 };
        assert_eq!(has.without(asks), Some(Allocatable { cpu: 0, memory: 1982, pods: 109 }));
        assert_eq!(has.beside(asks).without(asks), None);
    }
}
