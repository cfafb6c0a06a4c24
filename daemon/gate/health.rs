//! The health gate: no node is taken out or changed while it is not Ready, and no control plane node unless every other
//! one is Ready and has no upgrade Job at work, etcd can spare a member, and the API has answered steadily.

use jiff::Timestamp;

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::live::{JobState, Live, Node, Ready};
use crate::verify::control_plane::{quorum, steady, unready_peer};

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    match question.moment {
        // A drain may have taken half an hour since the node was claimed, so all is asked again before the change.
        Moment::StartRun | Moment::TakeOut | Moment::Claim | Moment::Change => {}
        Moment::GoOn => return Vec::new(),
    }
    let (Some(live), Some(node)) = (question.live(), question.node()) else { return Vec::new() };
    let mut answers: Vec<Answer> = at_work(question, live, node).collect();
    if node.ready != Ready::True {
        let text = match question.moment {
            Moment::Change => "it is not Ready any more; a node that is not Ready is not changed",
            _ => "it is not Ready; a node that is not Ready is not taken out",
        };
        let reason = Reason::new(Key::NodeNotReady, question.object(), text);
        // A control plane node is not Ready for a moment after its kubelet restarted, so its unit waits instead of
        // being returned.
        let waits = question.is_control_plane();
        answers.push(if waits {
            Answer::wait(Gate::Health, reason)
        } else {
            Answer::deny(Gate::Health, reason)
        });
    }
    let now = question.moment == Moment::Claim || question.moment == Moment::Change;
    if now && question.is_control_plane() {
        answers.extend(control_plane(question, live, &node.name));
    }
    answers
}

/// The upgrade Jobs of earlier runs that are still at work on the node. For a control plane node also those of any run on
/// the other control plane nodes: two of them are not changed at once.
///
/// A Job is created and begun while lists of Jobs are refused, so the daemon never sees it. A newer commit takes the
/// run's place, and the node counts as unchanged and is returned. When Jobs are seen again, the new run must not begin a
/// second Job beside the first one.
fn at_work<'a>(question: &Question<'a>, live: &'a Live, node: &'a Node) -> impl Iterator<Item = Answer> {
    let run = question.run().map(|run| run.id.clone()).unwrap_or_default();
    let peers = live.control_plane().filter(|peer| question.is_control_plane() && peer.name != node.name);
    let of_peers = peers.flat_map(|peer| live.jobs.on(&peer.name));
    let own_run = run.clone();
    let own = live.jobs.on(&node.name).filter(move |(_, job)| job.run != run);
    // A Job that has not begun is deleted first. The write that lets it begin may still be on its way.
    let now = matches!(question.moment, Moment::Claim | Moment::Change);
    own.chain(of_peers).filter_map(move |(name, job)| {
        let text = match job.state {
            // Those of this run are the business of their own steps.
            _ if job.suspended && (!now || job.run == own_run) => return None,
            JobState::Suspended => {
                format!("this upgrade Job on {} is suspended and is to be deleted", job.node)
            }
            JobState::Waiting(_) | JobState::Running => {
                format!("this upgrade Job is still at work on {}", job.node)
            }
            JobState::Complete | JobState::Failed(_) => return None,
        };
        Some(Answer::wait(Gate::Health, Reason::new(Key::Upgrading, format!("job/{name}"), text)))
    })
}

fn control_plane(question: &Question<'_>, live: &Live, node: &str) -> Vec<Answer> {
    let reasons = unready_peer(live, node).into_iter().chain(quorum(live, Some(node)));
    let mut answers: Vec<Answer> = reasons.map(|reason| Answer::wait(Gate::Health, reason)).collect();
    match steady(live, Timestamp::UNIX_EPOCH) {
        Err(reason) => answers.push(Answer::wait(Gate::Health, reason)),
        Ok(at) if at > question.world.now => {
            let text = "it answers and has to answer for 10 s without a break";
            let reason = Reason::new(Key::ApiNotSteady, "api", text);
            answers.push(Answer::wait(Gate::Health, reason).until(Some(at)));
        }
        Ok(_) => {}
    }
    answers
}
