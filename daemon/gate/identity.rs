//! The identity gate: another cluster behind the same name is never touched. A kubeconfig context may come to lead to
//! another cluster, and two contexts may lead to one.

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::live::Live;
use crate::model::state::Identity;
use crate::record::Record;

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    let world = question.world;
    let Some(live) = world.live else { return Vec::new() };
    match (other_cluster(world.me, live, world.record), question.moment, question.step) {
        (Some(reason), ..) => vec![Answer::deny(Gate::Identity, reason)],
        (None, Moment::GoOn, None) if live.cluster_uid.is_some() => {
            vec![Answer::allow(Gate::Identity, world.object(), "it is the cluster that the record knows")]
        }
        (None, Moment::StartRun | Moment::TakeOut | Moment::Claim | Moment::Change | Moment::GoOn, _) => {
            Vec::new()
        }
    }
}

/// Why this is not the cluster that the record knows, or not one to be served under this name; `None` if it is, and
/// while its UID was not read yet.
pub fn other_cluster(me: &Identity, live: &Live, record: &Record) -> Option<Reason> {
    let (key, text) = match (&me.twin, &record.cluster_uid, &live.cluster_uid) {
        (Some(twin), ..) => {
            let text =
                format!("it is the same cluster as {twin}, behind another context; only {twin} is served");
            (Key::ServedTwice, text)
        }
        (None, Some(known), Some(seen)) if known != seen => (
            Key::OtherCluster,
            format!(
                "this cluster's kube-system has UID {seen}, the record knows {known}: it is another cluster; check the kubeconfig context"
            ),
        ),
        (None, ..) => return None,
    };
    Some(Reason::new(key, format!("cluster/{}", me.cluster), text))
}
