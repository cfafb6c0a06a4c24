//! Whether the control plane as a whole can take a change: its API answers, etcd keeps its quorum, its nodes are
//! Ready.

use jiff::{SignedDuration, Timestamp};

use crate::model::decision::{Key, Reason};
use crate::model::live::{Live, Ready};
use crate::model::time::later;

/// How long the API must answer without a break after a control plane component restarted: the kubelet of a new minor
/// restarts every static pod once, right after it has reported the new version.
pub const STEADY: SignedDuration = SignedDuration::from_secs(10);

/// When the API will have answered long enough since `change`, if it goes on answering. The reason if it does not
/// answer.
pub fn steady(live: &Live, change: Timestamp) -> Result<Timestamp, Reason> {
    match live.api.ready_since {
        Some(since) => Ok(later(since.max(change), STEADY)),
        None => Err(Reason::new(Key::ApiNotSteady, "api", "it does not answer /readyz with ok")),
    }
}

/// Why etcd cannot spare a member; `None` if it can. `without` is the node that is about to be changed.
///
/// etcd needs more than half of its members. The readiness of its static pods is the kubelet's probe of etcd's own
/// health endpoint.
pub fn quorum(live: &Live, without: Option<&str>) -> Option<Reason> {
    let members: Vec<_> = live.etcd_pods().collect();
    let ready = members
        .iter()
        .filter(|(node, pod)| pod.ready && pod.deleting.is_none() && without != Some(&*node.name))
        .count();
    let needed = members.len() / 2 + 1;
    // A single member is down while it is changed anyway.
    let spare = members.len() > 1 || without.is_none();
    (spare && !members.is_empty() && ready < needed).then(|| {
        let text = format!("only {ready} of {} members would be Ready, {needed} are needed", members.len());
        Reason::new(Key::QuorumAtRisk, "etcd", text)
    })
}

/// Another control plane node that is not Ready: two must not be away at once.
pub fn unready_peer(live: &Live, node: &str) -> Option<Reason> {
    let unready = live.control_plane().find(|peer| peer.ready != Ready::True && *peer.name != *node)?;
    let text = "it is not Ready; a control plane node is changed only while every other one is Ready";
    Some(Reason::new(Key::NodeNotReady, format!("node/{}", unready.name), text))
}
