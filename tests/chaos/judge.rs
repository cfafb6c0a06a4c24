//! What has to be true of a run, whatever went wrong. It reads what the API server held and what was sent over the line, and
//! nothing that the daemon says of itself.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use windlass::model::names::{CLAIM, COMPONENT, LEASE, NODE, OUTDATED, TARGET};

use super::schedule::Act;
use super::{AGENT, AGENT_IMAGES, BUDGETED, NOTES, SURGES};
use crate::world::line::Sent;

/// How late after a stop something may still be sent.
const STOPPED: SignedDuration = SignedDuration::from_secs(2);
/// A node that has been out for longer than this is known to be out, however late the watches are.
const KNOWN: SignedDuration = SignedDuration::from_secs(150);

/// One version of an object, and when the API server stored it.
#[derive(Clone, Debug)]
pub struct Version {
    pub at: Timestamp,
    pub kind: &'static str,
    pub name: String,
    pub uid: String,
    pub object: Value,
    pub deleted: bool,
}

/// All that the judge hears.
#[derive(Default)]
pub struct Evidence {
    pub history: Vec<Version>,
    pub sent: Vec<Sent>,
    /// Who did what, and when it had taken effect.
    pub acts: Vec<(Timestamp, Act)>,
    /// How far the times of the history may be off.
    pub blur: SignedDuration,
}

impl Version {
    fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    fn label(&self, key: &str) -> &str {
        self.text(&format!("/metadata/labels/{}", key.replace('/', "~1")))
    }

    fn claim(&self) -> Option<Value> {
        let text = self.text(&format!("/metadata/annotations/{}", CLAIM.replace('/', "~1")));
        (!self.deleted && !text.is_empty()).then(|| serde_json::from_str(text).unwrap())
    }

    fn is_worker(&self) -> bool {
        !self.label("pool").is_empty()
    }

    fn is_cordoned(&self) -> bool {
        self.object["spec"]["unschedulable"] == true
    }

    /// It waits for its turn, and pods may leave it ahead of that.
    fn waits(&self) -> bool {
        let mut taints = self.object["spec"]["taints"].as_array().into_iter().flatten();
        taints.any(|taint| taint["key"] == OUTDATED) && !self.is_cordoned()
    }

    fn is_ready(&self) -> bool {
        let conditions = self.object["status"]["conditions"].as_array();
        conditions.into_iter().flatten().any(|row| row["type"] == "Ready" && row["status"] == "True")
    }

    fn runs(&self) -> &str {
        self.text("/status/nodeInfo/kubeletVersion")
    }

    fn is_finished(&self) -> bool {
        let conditions = self.object["status"]["conditions"].as_array();
        let ends =
            |row: &Value| (row["type"] == "Complete" || row["type"] == "Failed") && row["status"] == "True";
        self.deleted || conditions.into_iter().flatten().any(ends)
    }
}

fn minor(version: &str) -> u32 {
    version.trim_start_matches('v').split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or_default()
}

impl Evidence {
    /// Everything that was wrong.
    pub fn findings(&self) -> Vec<String> {
        let mut findings = self.evictions();
        findings.extend(self.writes_after_a_stop());
        findings.extend(self.nodes());
        findings.extend(self.foreign_cordons());
        findings.extend(self.taints());
        findings.extend(self.jobs());
        findings.extend(self.epochs());
        findings.extend(self.skew());
        findings.extend(self.addons());
        findings.extend(self.notes());
        findings
    }

    fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Version> {
        self.history.iter().filter(move |version| version.kind == kind)
    }

    /// The versions of a node that may have been the newest at a time.
    fn around<'a>(&'a self, node: &'a str, at: Timestamp) -> impl Iterator<Item = &'a Version> {
        let versions: Vec<&Version> = self.of("nodes").filter(|version| version.name == node).collect();
        let from = versions.iter().rposition(|version| version.at + self.blur <= at).unwrap_or(0);
        versions.into_iter().skip(from).take_while(move |version| version.at <= at + self.blur)
    }

    fn evictions(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let mut accepted: BTreeMap<&str, u32> = BTreeMap::new();
        for sent in &self.sent {
            let Sent { at, namespace, name, .. } = sent;
            if sent.verb == "delete" && sent.kind == "pods" {
                findings.push(format!("{at} a pod was deleted: {namespace}/{name}"));
            }
            if !sent.is_eviction() {
                continue;
            }
            let uid = sent.body.pointer("/deleteOptions/preconditions/uid").and_then(Value::as_str);
            let Some(uid) = uid else {
                findings.push(format!("{at} an eviction of {namespace}/{name} names no UID"));
                continue;
            };
            let pod = self.of("pods").filter(|pod| pod.uid == uid && pod.at <= *at + self.blur).last();
            let Some(pod) = pod else {
                findings.push(format!(
                    "{at} an eviction of a pod that there never was: {namespace}/{name} {uid}"
                ));
                continue;
            };
            let node = pod.text("/spec/nodeName");
            let may_leave_ahead = BUDGETED.contains(&pod.label("app"));
            let in_order = |node: &Version| node.claim().is_some() || (may_leave_ahead && node.waits());
            if !self.around(node, *at).any(in_order) {
                findings.push(format!(
                    "{at} {namespace}/{name} was evicted from {node}, which nobody had claimed"
                ));
            }
            if pod.label("app") == SURGES {
                findings.push(format!("{at} {namespace}/{name} was evicted, which asks for rollouts"));
            }
            if sent.answer.is_some_and(|(_, code)| code == 201) {
                *accepted.entry(uid).or_default() += 1;
            }
        }
        let twice = accepted.iter().filter(|(_, count)| **count > 1);
        findings.extend(twice.map(|(uid, count)| format!("the pod {uid} was evicted {count} times")));
        findings
    }

    fn writes_after_a_stop(&self) -> Vec<String> {
        let mut stopped = None;
        let mut spans = Vec::new();
        for (at, act) in &self.acts {
            match act {
                Act::Stop => stopped = Some(*at),
                Act::Resume => spans.extend(stopped.take().map(|from| (from, *at))),
                _ => {}
            }
        }
        let disturbs = |sent: &&Sent| {
            let workload = ["nodes", "pods", "jobs", "deployments", "daemonsets"].contains(&&*sent.kind);
            sent.is_write() && (workload || NOTES.contains(&&*sent.name))
        };
        let late = self.sent.iter().filter(disturbs).filter_map(|sent| {
            let (from, _) =
                spans.iter().find(|(from, until)| *from + STOPPED < sent.at && sent.at < *until)?;
            let Sent { at, verb, kind, subresource, name, .. } = sent;
            Some(format!("{at} {verb} {kind}/{name} {subresource} was sent after the stop of {from}"))
        });
        late.collect()
    }

    /// Limits: how many workers are out because of us.
    fn nodes(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let mut now: BTreeMap<&str, &Version> = BTreeMap::new();
        let mut out_since: BTreeMap<&str, Timestamp> = BTreeMap::new();
        for version in self.of("nodes").filter(|version| version.is_worker()) {
            let name = version.name.as_str();
            let before = now.insert(name, version);
            if version.deleted {
                now.remove(name);
                out_since.remove(name);
                continue;
            }
            if version.is_ready() && !version.is_cordoned() {
                out_since.remove(name);
            } else {
                out_since.entry(name).or_insert(version.at);
            }
            let newly = version.claim().is_some() && before.is_none_or(|before| before.claim().is_none());
            if !newly {
                continue;
            }
            let widened = self.acts.iter().any(|(at, act)| *act == Act::Widen && *at <= version.at);
            let limit = if widened { 2 } else { 1 };
            let is_out = |other: &&str| -> bool {
                let known = out_since.get(*other).is_some_and(|since| *since + KNOWN < version.at);
                *other == name || known || now[*other].claim().is_some()
            };
            let out: Vec<&str> = now.keys().copied().filter(is_out).collect();
            if out.len() > limit {
                findings
                    .push(format!("{} {name} was claimed although {out:?} are out of {limit}", version.at));
            }
        }
        findings
    }

    fn foreign_cordons(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for (at, act) in &self.acts {
            let Act::Cordon(node) = act else { continue };
            let ends = |(_, other): &&(Timestamp, Act)| {
                *other == Act::Uncordon(node) || *other == Act::Replace(node)
            };
            let until = self.acts.iter().filter(|(other, _)| other > at).find(ends);
            let until = until.map_or(Timestamp::MAX, |(until, _)| *until);
            let mut was: Option<&Version> = None;
            for version in self.of("nodes").filter(|version| version.name == *node) {
                let inside = *at + self.blur < version.at && version.at + self.blur < until;
                // Who cordons a node that is claimed already leaves no trace that could be told from ours.
                let ours = was
                    .is_some_and(|was| was.claim().is_some_and(|claim| claim["wasUnschedulable"] == false));
                if inside
                    && !ours
                    && was.is_some_and(Version::is_cordoned)
                    && !version.is_cordoned()
                    && !version.deleted
                {
                    findings.push(format!("{} the foreign cordon of {node} of {at} was removed", version.at));
                }
                was = Some(version);
            }
        }
        findings
    }

    /// No taint of others goes, and ours moves nothing that runs.
    fn taints(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let mut were: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for version in self.of("nodes").filter(|version| !version.deleted) {
            let taints = version.object["spec"]["taints"].as_array();
            let taints = taints.into_iter().flatten();
            let now: Vec<_> = taints.map(|taint| (taint["key"].as_str(), taint["effect"].as_str())).collect();
            if now.iter().any(|(key, effect)| *key == Some(OUTDATED) && *effect != Some("PreferNoSchedule")) {
                findings.push(format!("{} {} has a taint of ours that moves pods", version.at, version.name));
            }
            // The taints of Kubernetes itself follow the state of the node.
            let foreign = now.iter().filter_map(|(key, _)| *key);
            let foreign = foreign.filter(|key| *key != OUTDATED && !key.starts_with("node.kubernetes.io/"));
            let foreign: BTreeSet<&str> = foreign.collect();
            if let Some(before) = were.insert(&version.uid, foreign.clone())
                && before != foreign
            {
                findings.push(format!("{} the taints {before:?} of {} changed", version.at, version.name));
            }
        }
        findings
    }

    /// No node is changed twice, and never two control plane nodes at once.
    fn jobs(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let mut open: BTreeMap<&str, &Version> = BTreeMap::new();
        let mut known: BTreeSet<&str> = BTreeSet::new();
        for job in self.of("jobs").filter(|job| !job.label(COMPONENT).is_empty()) {
            let (component, node) = (job.label(COMPONENT), job.label(NODE));
            if known.insert(&job.uid) {
                let beside = open.values().filter(|other| {
                    other.label(NODE) == node
                        || (component == "control-plane" && other.label(COMPONENT) == component)
                });
                for other in beside {
                    findings.push(format!("{} {} was begun beside {}", job.at, job.name, other.name));
                }
                let done = self.around(node, job.at).all(|node| node.runs() == job.label(TARGET));
                if component == "kubelet" && done {
                    findings
                        .push(format!("{} {} was begun on {node}, which runs its target", job.at, job.name));
                }
            }
            if job.is_finished() {
                open.remove(&*job.uid);
            } else {
                open.insert(&job.uid, job);
            }
        }
        findings
    }

    fn epochs(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        for version in self.history.iter().filter(|version| !version.deleted) {
            let epoch = match version.kind {
                "leases" if version.name == LEASE => version.object["spec"]["leaseTransitions"].as_u64(),
                "nodes" => version.claim().and_then(|claim| claim["epoch"].as_u64()),
                _ => None,
            };
            let Some(epoch) = epoch else { continue };
            let before = newest.insert(&version.uid, epoch).unwrap_or_default();
            if epoch < before {
                findings.push(format!("{} {} went from epoch {before} to {epoch}", version.at, version.name));
            }
        }
        findings
    }

    /// The addon has only images that a commit asked for, and nothing else of its template changes.
    fn addons(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let mut first: Option<Value> = None;
        for version in self.of("daemonsets").filter(|version| version.name == AGENT) {
            let Some(template) = version.object.pointer("/spec/template") else { continue };
            let image =
                template.pointer("/spec/containers/0/image").and_then(Value::as_str).unwrap_or_default();
            if !AGENT_IMAGES.contains(&image) {
                findings
                    .push(format!("{} the addon has the image {image}, which nobody asked for", version.at));
            }
            let mut template = template.clone();
            template["spec"]["containers"][0]["image"] = Value::Null;
            let same = first.get_or_insert_with(|| template.clone());
            if *same != template {
                findings.push(format!("{} more than the image of the addon has changed", version.at));
            }
        }
        findings
    }

    /// The objects of the addon of manifests have only what a commit asked for, and bear its label; only the one that the new state
    /// does not have is ever deleted.
    fn notes(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for version in self.of("configmaps").filter(|version| NOTES.contains(&&*version.name)) {
            let Version { at, name, object, .. } = version;
            if version.deleted && *name != NOTES[1] {
                findings.push(format!("{at} {name} was deleted, and every commit has it"));
            }
            let text = object.pointer("/data/text").and_then(Value::as_str).unwrap_or_default();
            if !["old", "new"].contains(&text) {
                findings.push(format!("{at} {name} has the text {text}, which nobody asked for"));
            }
            let label = object.pointer("/metadata/labels/windlass.dev~1addon").and_then(Value::as_str);
            if label != Some("demo.notes") {
                findings.push(format!("{at} {name} has the label {label:?}"));
            }
        }
        findings
    }

    /// No kubelet is newer than an API server, where these are to be seen.
    fn skew(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let mut servers: BTreeMap<&str, u32> = BTreeMap::new();
        for version in &self.history {
            if version.kind == "pods" && version.label("component") == "kube-apiserver" {
                let image = version.text("/spec/containers/0/image");
                let tag = image.rsplit(':').next().unwrap_or_default();
                servers.insert(&version.name, minor(tag));
            }
            let oldest = servers.values().min().copied();
            if version.kind == "nodes" && oldest.is_some_and(|oldest| oldest < minor(version.runs())) {
                findings.push(format!(
                    "{} {} runs {} beside an older API server",
                    version.at,
                    version.name,
                    version.runs()
                ));
            }
        }
        findings.dedup_by_key(|finding| finding.split(' ').nth(1).map(str::to_owned));
        findings
    }
}
