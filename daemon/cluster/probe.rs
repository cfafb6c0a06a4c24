//! Probes: questions that no watch answers.

use http::Request;
use http::header::{CONNECTION, DATE, HeaderMap};
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod};
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::api::{ListParams, ObjectList, PostParams};
use kube::client::Body;
use kube::{Api, ResourceExt as _};

use super::lean::{Lean, lean_list};
use super::{CallError, ClusterApi, call};
use crate::clock::Clock;
use crate::live::{Event, Listing, NodeRead, ProbeAnswer, Seen, Watched};
use crate::model::label_value::label_value;
use crate::model::live::{Heard, Lock, Probe};
use crate::model::names::{HEARD, LEASE, NAMESPACE, NODE, NOTES, STATUS, STOP};
use crate::model::version::Version;

/// How many answers to `/version` make one look at the API endpoint.
const ANSWERS: usize = 4;

impl ClusterApi {
    /// Asks one probe. A failure is an answer too: nothing is known.
    pub async fn ask(&self, probe: &Probe, clock: &Clock) -> ProbeAnswer {
        let answer = match probe {
            Probe::ClusterUid => self.cluster_uid().await,
            Probe::Api => self.api_answer(clock).await,
            Probe::Heartbeat(node) => self.heartbeat(node).await,
            Probe::Node(node) => self.node(node).await,
            Probe::Lock => self.lock().await.map(ProbeAnswer::Lock),
            Probe::Published => self.published().await.map(ProbeAnswer::Published),
            Probe::Workload(of) => Ok(match self.workload(of).await {
                Ok(workload) => ProbeAnswer::Workload(workload),
                Err(error) => ProbeAnswer::WorkloadUnread(error.failure()),
            }),
            Probe::Evidence(question) => Ok(ProbeAnswer::Evidence(self.evidence(question).await)),
            Probe::Right(of) => self.right_to_patch(of).await.map(ProbeAnswer::Right),
            Probe::Manifests(question) => Ok(ProbeAnswer::Manifests(self.manifests(question).await)),
            Probe::Earlier(of) => {
                Ok(ProbeAnswer::Nothing(format!("the API server has no commit {}", of.commit.short())))
            }
            Probe::Long(name) => {
                Ok(ProbeAnswer::Nothing(format!("the API server does not know how far {name} has come")))
            }
        };
        answer.unwrap_or_else(|error| ProbeAnswer::Nothing(error.words()))
    }

    /// The name by which the API server knows this user; `None` if it does not say.
    pub async fn user(&self) -> Option<String> {
        let api = Api::<SelfSubjectReview>::all(self.client.clone());
        let review = call(api.create(&PostParams::default(), &SelfSubjectReview::default())).await.ok()?;
        review.status?.user_info?.username
    }

    async fn cluster_uid(&self) -> Result<ProbeAnswer, CallError> {
        let space = call(Api::<Namespace>::all(self.client.clone()).get(NOTES)).await?;
        Ok(ProbeAnswer::ClusterUid(space.metadata.uid.unwrap_or_default()))
    }

    async fn api_answer(&self, clock: &Clock) -> Result<ProbeAnswer, CallError> {
        let ready =
            Request::get("/readyz").body(Body::empty()).map_err(|e| CallError::Transport(e.to_string()))?;
        let sent = clock.wall();
        let answer = call(self.client.send(ready)).await;
        let clock_ahead = answer.as_ref().ok().and_then(|answer| ahead(answer.headers(), sent, clock.wall()));
        let ready = match answer {
            Ok(answer) if answer.status().is_success() => {
                let text = answer.into_body().collect_bytes().await.unwrap_or_default();
                text.trim_ascii() == b"ok"
            }
            Ok(_) | Err(_) => false,
        };
        let version = self.oldest_answer().await.ok().flatten();
        Ok(ProbeAnswer::Api { ready: ready && version.is_some(), version, clock_ahead })
    }

    /// The oldest version that several answers to `/version` have; `None` if one of them has no version that can be
    /// read. Each comes over a new connection: a balancer then may choose another API server.
    pub(super) async fn oldest_answer(&self) -> Result<Option<Version>, CallError> {
        let mut answers = Vec::new();
        for _ in 0..ANSWERS {
            let version = Request::get("/version").header(CONNECTION, "close").body(Vec::new());
            let version = version.map_err(|e| CallError::Transport(e.to_string()))?;
            let info: Info = call(self.client.request(version)).await?;
            // `gitVersion` has the vendor's suffix; the minor alone may have a `+`.
            let Ok(version) = info.git_version.parse::<Version>() else { return Ok(None) };
            answers.push(version);
        }
        Ok(Version::oldest(&answers).cloned())
    }

    async fn heartbeat(&self, node: &str) -> Result<ProbeAnswer, CallError> {
        let lease = call(Api::<Lease>::namespaced(self.client.clone(), "kube-node-lease").get(node)).await?;
        let renewed = lease.spec.and_then(|spec| spec.renew_time);
        Ok(ProbeAnswer::Heartbeat(renewed.map(|time| time.0.to_string()).unwrap_or_default()))
    }

    /// Reads a node, its pods and its upgrade Jobs without a resource version: etcd's quorum answers such lists. What a
    /// server returns beside what was asked for is passed over.
    async fn node(&self, name: &str) -> Result<ProbeAnswer, CallError> {
        let label = label_value(name).label;
        let of_name = ListParams::default().fields(&format!("metadata.name={name}"));
        let on_node = ListParams::default().fields(&format!("spec.nodeName={name}"));
        let for_node = ListParams::default().labels(&format!("{NODE}={label}"));
        let (nodes, pods, jobs) = (
            Api::<Node>::all(self.client.clone()),
            Api::<Pod>::all(self.client.clone()),
            Api::<Job>::namespaced(self.client.clone(), NAMESPACE),
        );
        let (nodes, pods, jobs) = tokio::try_join!(
            call(lean_list(&nodes, &of_name)),
            call(lean_list(&pods, &on_node)),
            call(lean_list(&jobs, &for_node)),
        )?;
        let node = nodes
            .items
            .into_iter()
            .map(|Lean(node)| node)
            .find(|node| node.metadata.name.as_deref() == Some(name));
        let is_there =
            |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_deref() == Some(name));
        let names_it = |job: &Job| job.labels().get(NODE) == Some(&label);
        let (pods, jobs) = (listing(pods, is_there), listing(jobs, names_it));
        Ok(ProbeAnswer::Node(Box::new(NodeRead { node, pods, jobs })))
    }

    /// One list of the nodes, from the API server's cache.
    pub async fn nodes(&self) -> Result<Vec<Seen>, CallError> {
        let any = ListParams::default().match_any();
        let nodes = call(lean_list(&Api::<Node>::all(self.client.clone()), &any)).await?.items;
        let listed = nodes.into_iter().map(|Lean(node)| Event::Listed(Box::new(node)));
        Ok(listed.map(|event| Seen::Watched(Watched::Node(event))).collect())
    }

    /// True if a person has stopped the work, as etcd has it now.
    pub async fn is_stopped(&self) -> Result<bool, CallError> {
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), NOTES);
        Ok(call(maps.get_opt(STOP)).await?.is_some())
    }

    async fn lock(&self) -> Result<Option<Lock>, CallError> {
        match call(Api::<Lease>::namespaced(self.client.clone(), NAMESPACE).get(LEASE)).await {
            Ok(lease) => Ok(Some(read_lock(&lease))),
            Err(error) if error.code() == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn published(&self) -> Result<Option<String>, CallError> {
        match call(Api::<ConfigMap>::namespaced(self.client.clone(), NOTES).get(STATUS)).await {
            Ok(map) => Ok(map.data.and_then(|mut data| data.remove("status"))),
            Err(error) if error.code() == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn listing<K: Clone>(list: ObjectList<Lean<K>>, is_asked_for: impl Fn(&K) -> bool) -> Listing<K> {
    let items = list.items.into_iter().map(|Lean(item)| item).filter(is_asked_for).collect();
    Listing { items, resource_version: list.metadata.resource_version }
}

/// By how much our time of day is ahead of that of an answer. `Date` is cut to whole seconds, and the answer was made
/// somewhere between the two times.
fn ahead(headers: &HeaderMap, sent: Timestamp, heard: Timestamp) -> Option<SignedDuration> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let date = DateTimeParser::new().parse_timestamp(date).ok()?;
    let (after, before) = (sent.duration_since(date), heard.duration_since(date));
    let second = SignedDuration::from_secs(1);
    // Within these bounds both clocks may be equal.
    Some(if after > second {
        after - second
    } else if before.is_negative() {
        before
    } else {
        SignedDuration::ZERO
    })
}

pub(super) fn read_lock(lease: &Lease) -> Lock {
    let spec = lease.spec.clone().unwrap_or_default();
    Lock {
        holder: spec.holder_identity.unwrap_or_default(),
        transitions: u64::try_from(spec.lease_transitions.unwrap_or(0)).unwrap_or(0),
        resource_version: lease.metadata.resource_version.clone().unwrap_or_default(),
        renewed: spec.renew_time.map(|time| time.0.to_string()).unwrap_or_default(),
        // The fold sets when it was first seen.
        seen: Timestamp::UNIX_EPOCH,
        seconds: i64::from(spec.lease_duration_seconds.unwrap_or(0)),
        heard: lease.metadata.annotations.as_ref().and_then(|all| heard(all.get(HEARD)?)),
    }
}

/// `v1.36.3 since 2026-11-24T22:00:00Z`; `None` if it cannot be read.
fn heard(text: &str) -> Option<Heard> {
    let (version, since) = text.split_once(" since ")?;
    Some(Heard { version: version.parse().ok()?, since: since.parse().ok()? })
}
