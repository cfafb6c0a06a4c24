//! The image gate: no Job runs on a host before a person has named its image, in the cluster's file or in the daemon's
//! settings. There is no default: the Job is root on every node, and a short name would leave it to a registry what runs.

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::image::is_placeholder;
use crate::provider;

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    let Some(plan) = question.plan else { return Vec::new() };
    let text = match &plan.kubeadm.image {
        None => provider::NO_IMAGE,
        Some(image) if is_placeholder(image) => provider::PLACEHOLDER_IMAGE,
        Some(_) => return Vec::new(),
    };
    let needed = match question.moment {
        Moment::StartRun => plan.steps().any(provider::runs_a_job),
        Moment::TakeOut | Moment::Claim | Moment::Change => question.step.is_some_and(provider::runs_a_job),
        Moment::GoOn => false,
    };
    let reason = || Reason::new(Key::NoImage, question.world.object(), text);
    needed.then(|| Answer::deny(Gate::Image, reason())).into_iter().collect()
}
