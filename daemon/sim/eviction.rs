//! The eviction subresource, decision by decision in the order of a real API server.

use super::answer::Answer;
use super::cluster::Cluster;
use super::control::budget;
use super::delete::Options;
use super::json::{self, int, set, text};
use super::object::{Key, Object, Phase};
use super::request::{Call, Place};
use super::resource::Kind;
use super::status::{Refusal, Served};
use super::time;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

/// Disrupted pods that a budget may wait for at once.
const MAX_DISRUPTED: usize = 2000;
/// What the server advises where only its own controller is behind.
const RETRY_SECONDS: u32 = 10;

const VIOLATES: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

impl Cluster {
    pub(super) fn evict_call(&mut self, call: &Call, place: &Place, now: Timestamp) -> Served<Answer> {
        let body = call.json()?;
        check_body(place, &body)?;
        let mut options = Options::from_json(body.get("deleteOptions").unwrap_or(&Value::Null));
        let stated = json::at(&body, &["deleteOptions", "dryRun"]).is_some_and(|list| list != &json!([]));
        if stated && call.query.has("dryRun") && options.dry_run != call.is_dry_run() {
            return Err(Refusal::bad_request("Non-matching dry-run options in request and content"));
        }
        options.dry_run |= call.is_dry_run();
        let pod = self.find(place, now);
        self.audit.observe_eviction(
            pod.as_ref().ok().map(|pod| &*pod.uid),
            options.uid.as_deref(),
            options.dry_run,
        );
        if let Some(message) = self.faults.denied_eviction(&place.namespace) {
            return Err(webhook_denial(message));
        }
        self.evict(&pod?, &options, now)?;
        Ok(Answer::tree(
            StatusCode::CREATED,
            &json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
            }),
        ))
    }

    fn evict(&mut self, pod: &Arc<Object>, options: &Options, now: Timestamp) -> Served<()> {
        let Some(facts) = pod.pod() else {
            return Err(Refusal::not_found(Kind::Pod.resource(), &pod.key.name));
        };
        let over = facts.finished() || facts.phase == Phase::Pending || pod.deleting;
        if !over {
            self.judge(pod, options.dry_run, now)?;
        }
        self.disrupt(pod, options, now)
    }

    /// Asks the pod's budget, and books the disruption there.
    fn judge(&mut self, pod: &Object, dry_run: bool, now: Timestamp) -> Served<()> {
        let budgets: Vec<_> = budget::matching(&self.store, pod).cloned().collect();
        let budget = match budgets.as_slice() {
            [] => return Ok(()),
            [budget] => budget,
            _ => {
                let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
                return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "", message));
            }
        };
        let tree = budget.tree();
        let number = |field| int(tree, &["status", field]).unwrap_or_default();
        if !pod.pod().is_some_and(|facts| facts.ready) {
            let always = text(tree, &["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow";
            let served = number("currentHealthy") >= number("desiredHealthy") && number("desiredHealthy") > 0;
            if always || served {
                return Ok(());
            }
        }
        self.check_and_decrement(budget, &pod.key, dry_run, now)
    }

    fn check_and_decrement(
        &mut self,
        budget: &Object,
        pod: &Key,
        dry_run: bool,
        now: Timestamp,
    ) -> Served<()> {
        let (tree, name) = (budget.tree(), &budget.key.name);
        let number = |field| int(tree, &["status", field]).unwrap_or_default();
        let generation = int(tree, &["metadata", "generation"]).unwrap_or_default();
        if number("observedGeneration") < generation {
            let why = format!("The disruption budget {name} is still being processed by the server.");
            return Err(Refusal::too_many(VIOLATES, Some(RETRY_SECONDS)).cause(
                "DisruptionBudget",
                &why,
                None,
            ));
        }
        let allowed = number("disruptionsAllowed");
        let disrupted = json::at(tree, &["status", "disruptedPods"]).and_then(Value::as_object);
        if allowed < 0 {
            return Err(forbidden(name, "pdb disruptions allowed is negative"));
        }
        if disrupted.is_some_and(|disrupted| disrupted.len() > MAX_DISRUPTED) {
            let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
            return Err(forbidden(name, why));
        }
        if allowed == 0 {
            return Err(Refusal::too_many(VIOLATES, None).cause(
                "DisruptionBudget",
                &why_not(tree, name),
                None,
            ));
        }
        if !dry_run {
            self.edit(Kind::PodDisruptionBudget, &budget.key, now, |tree| {
                set(tree, &["status", "disruptionsAllowed"], allowed - 1);
                set(tree, &["status", "disruptedPods", &pod.name], time::seconds(now));
                if allowed == 1 {
                    budget::set_allowed_condition(tree, 0, now);
                }
            });
        }
        Ok(())
    }

    /// Marks the pod and deletes it, if it is still the one that was meant.
    fn disrupt(&mut self, pod: &Arc<Object>, options: &Options, now: Timestamp) -> Served<()> {
        options.check(Kind::Pod.resource(), pod)?;
        if options.dry_run {
            return Ok(());
        }
        let marked = self.edit(Kind::Pod, &pod.key, now, |tree| {
            super::control::pod::set_condition(
                tree,
                json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                       "message": "Eviction API: evicting"}),
                now,
            );
        });
        let Some(marked) = marked else { return Ok(()) };
        let unconditional = Options { uid: None, version: None, ..options.clone() };
        self.delete(&marked, &unconditional, now)?;
        self.audit.accept_eviction();
        Ok(())
    }
}

fn check_body(place: &Place, body: &Value) -> Served<()> {
    let (kind, version) = (text(body, &["kind"]), text(body, &["apiVersion"]));
    if version == "policy/v1beta1" {
        return Err(Refusal::bad_request(
            "no kind \"Eviction\" is registered for version \"policy/v1beta1\"",
        ));
    }
    if !matches!(kind, "" | "Eviction") || !matches!(version, "" | "policy/v1") {
        return Err(Refusal::bad_request(format!("not a Eviction object: {kind} in version {version}")));
    }
    if text(body, &["metadata", "name"]) != place.name {
        return Err(Refusal::bad_request("name in URL does not match name in Eviction object"));
    }
    Ok(())
}

fn forbidden(name: &str, why: &str) -> Refusal {
    let message = format!("poddisruptionbudget.policy {name:?} is forbidden: {why}");
    Refusal::new(StatusCode::FORBIDDEN, "Forbidden", message)
        .detail("name", name)
        .detail("group", "policy")
        .detail("kind", "poddisruptionbudget")
}

fn why_not(tree: &Value, name: &str) -> String {
    let number = |field| int(tree, &["status", field]).unwrap_or_default();
    let condition =
        json::find_condition(tree, "DisruptionAllowed").filter(|found| text(found, &["status"]) == "False");
    let (reason, message) =
        condition.map(|found| (text(found, &["reason"]), text(found, &["message"]))).unwrap_or_default();
    if reason == "SyncFailed" && !message.is_empty() {
        return format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}"
        );
    }
    let (desired, current) = (number("desiredHealthy"), number("currentHealthy"));
    if current <= desired {
        return format!(
            "The disruption budget {name} needs {desired} healthy pods and has {current} currently"
        );
    }
    if message.is_empty() {
        return format!("The disruption budget {name} does not allow evicting pods currently");
    }
    format!("The disruption budget {name} does not allow evicting pods currently ({reason}): {message}")
}

fn webhook_denial(message: &str) -> Refusal {
    let message =
        format!("admission webhook \"evictions.webhook.example.com\" denied the request: {message}");
    Refusal::new(StatusCode::FORBIDDEN, "Forbidden", message)
}
