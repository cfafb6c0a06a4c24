//! What a pass answers, as text: every answer of every gate, what is written down, what is done and by which entry it
//! is released, what is asked, and when it looks again. Times are told from now on.

use std::fmt::Write as _;

use jiff::Timestamp;
use windlass::model::claim::Claim;
use windlass::model::decision::{Answer, Reason};
use windlass::model::effect::{Effect, LeaseMove, NodePatch, RolloutPatch};
use windlass::model::entry::{ClusterEvent, Entry, InterruptionEvent, RunEvent, StepEvent, What};
use windlass::model::live::{NodeTaint, Probe};
use windlass::reconcile::{Tick, outlook};
use windlass::record::{sentence, text};

use super::scene::Scene;
use super::story::EPOCH;

pub fn page(scene: &Scene, tick: &Tick) -> String {
    let mut out = String::new();
    let Tick { entries, frozen, effects, probes, states, watched, looked: _, stands_by, status, wake_at } =
        tick;
    // What is written down is folded into the record, and further passes follow at once.
    let then = outlook(scene.input()).state;
    let then = if then == status.state { String::new() } else { format!(", then {then:?}") };
    writeln!(out, "state {:?}{then}", status.state).unwrap();
    writeln!(out, "wake {}", wake_at.map_or("when something happens".to_owned(), |at| when(at, scene.now)))
        .unwrap();
    if *stands_by {
        writeln!(out, "stands by").unwrap();
    }
    list(&mut out, "steps", states.iter().map(|(id, state)| format!("{state:?} {id}")));
    list(&mut out, "answers", status.answers.iter().map(|told| answer(told, scene.now)));
    list(&mut out, "entries", told(scene, tick));
    if let Some(plan) = frozen {
        assert!(entries.iter().any(
            |what| matches!(what, What::Run(RunEvent::Started { digest, .. }) if *digest == plan.digest)
        ));
    }
    list(&mut out, "effects", effects.iter().map(|(effect, after)| done(scene, effect, *after)));
    list(&mut out, "probes", probes.iter().map(probe));
    list(&mut out, "watched on their way back", watched.iter().map(ToString::to_string));
    out
}

fn list(out: &mut String, title: &str, lines: impl IntoIterator<Item = String>) {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_some() {
        writeln!(out, "\n{title}").unwrap();
    }
    for line in lines {
        writeln!(out, "  {line}").unwrap();
    }
}

/// `+2h`, `-5m`.
fn when(at: Timestamp, now: Timestamp) -> String {
    if at >= now {
        format!("+{}", text::length(at.duration_since(now)))
    } else {
        format!("-{}", text::length(now.duration_since(at)))
    }
}

fn answer(answer: &Answer, now: Timestamp) -> String {
    let verdict = format!("{:?}", answer.verdict).to_lowercase();
    let gate = format!("{:?}", answer.gate).to_lowercase();
    let next = answer.next.map(|at| format!("  next {}", when(at, now))).unwrap_or_default();
    format!("{verdict:<5} {gate:<7} {}{next}", reason(&answer.reason))
}

fn reason(reason: &Reason) -> String {
    format!("{} {}: {}", reason.key.as_str(), reason.object, reason.text)
}

/// Each entry as its sentence, and what is in it beyond that.
fn told(scene: &Scene, tick: &Tick) -> Vec<String> {
    let mut lines = Vec::new();
    let mut run = scene.record.run.as_ref().map(|run| run.id.clone());
    for (index, what) in tick.entries.iter().enumerate() {
        if let What::Run(RunEvent::Started { commit, .. }) = what {
            run = Some(scene.record.next_run(commit));
        }
        let seq = scene.record.next_seq + u64::try_from(index).unwrap();
        let entry = Entry { seq, at: scene.now, run: run.clone(), epoch: EPOCH, what: what.clone() };
        let (name, more) = event(what, scene.now);
        lines.push(format!("{name}  \"{}\"", sentence(&entry)));
        lines.extend(more.into_iter().map(|line| format!("  {line}")));
    }
    lines
}

fn event(what: &What, now: Timestamp) -> (String, Vec<String>) {
    let reasons = |reasons: &[Reason]| reasons.iter().map(reason).collect();
    match what {
        What::Cluster(ClusterEvent::Met { .. }) => ("cluster met".to_owned(), Vec::new()),
        What::Cluster(ClusterEvent::Waiting { answers }) => {
            let lines = answers.iter().map(|told| answer(told, now)).collect();
            ("cluster waiting".to_owned(), lines)
        }
        What::Cluster(ClusterEvent::Drifted { objects }) => {
            let lines = objects.iter().map(|of| format!("{} {} {}", of.addon, of.object, of.text)).collect();
            ("cluster drifted".to_owned(), lines)
        }
        What::Commit(event) => (format!("commit {}", variant(event)), Vec::new()),
        What::Run(RunEvent::Ended { reasons: why, .. }) => ("run ended".to_owned(), reasons(why)),
        What::Run(event) => (format!("run {}", variant(event)), Vec::new()),
        What::Step(id, event) => {
            let more = match event {
                StepEvent::Started { baseline, .. } => baseline
                    .values()
                    .map(|owner| format!("{} has {} ready", owner.name, owner.ready))
                    .collect(),
                StepEvent::SetAside { reasons: why, .. }
                | StepEvent::Failed { reasons: why }
                | StepEvent::GoesBack { reasons: why } => reasons(why),
                StepEvent::Moved { .. } | StepEvent::Done { .. } | StepEvent::Gone => Vec::new(),
            };
            (format!("step {id} {}", variant(event)), more)
        }
        What::Interruption(InterruptionEvent::Halted { reasons: why }) => ("halted".to_owned(), reasons(why)),
        What::Interruption(event) => (variant(event), Vec::new()),
    }
}

/// The name of a variant, without what is in it.
fn variant(event: &impl std::fmt::Debug) -> String {
    let name = format!("{event:?}");
    let name = name.split([' ', '{', '(']).next().unwrap();
    name[..1].to_lowercase() + &name[1..]
}

fn done(scene: &Scene, effect: &Effect, after: u64) -> String {
    let released = match scene.journal.iter().find(|entry| entry.seq == after) {
        Some(entry) => format!("after {after} \"{}\"", sentence(entry)),
        None if after == 0 => "at once".to_owned(),
        None => format!("after {after}, which is not written yet"),
    };
    format!("{}  {released}", deed(scene, effect))
}

fn deed(scene: &Scene, effect: &Effect) -> String {
    match effect {
        Effect::Node { name, patch, taints, .. } => {
            format!("node/{name} {}{}", patched(patch, scene.now), tainted(taints.as_deref()))
        }
        Effect::Evict { namespace, pod, uid } => format!("evict pod/{namespace}/{pod} ({uid})"),
        Effect::Rollout { patch, .. } => format!("{} {}", effect.object(), rolled(patch)),
        Effect::SetImage { container, image, .. } => {
            format!("{}: give the container {container} the image {image}", effect.object())
        }
        Effect::Apply { object, .. } => format!("apply {object}"),
        Effect::DeleteObject { object, .. } => format!("delete {object}"),
        Effect::Helm(call) => format!("helm {}", call.asked.release),
        Effect::CreateNamespace(_) => "create the namespace".to_owned(),
        Effect::CreateJob { name, manifest } => {
            let on = &manifest["spec"]["template"]["spec"]["nodeName"];
            format!("create job/{name} on {}", on.as_str().unwrap())
        }
        Effect::SuspendJob { name, suspend: true, .. } => format!("suspend job/{name}"),
        Effect::SuspendJob { name, .. } => format!("let job/{name} begin"),
        Effect::DeleteJob { name, .. } => format!("delete job/{name}"),
        Effect::Lease { lease, .. } => match lease {
            LeaseMove::Create { transitions, .. } => format!("create the lease under epoch {transitions}"),
            LeaseMove::Hold { transitions, .. } => format!("hold the lease under epoch {transitions}"),
            LeaseMove::Release { .. } => "give the lease back".to_owned(),
        },
        Effect::Publish { .. } => "publish the status".to_owned(),
        Effect::BeginLong { name } => format!("begin the work {name}"),
        Effect::ForgetResume { uid } => format!("delete the note of the resume ({uid})"),
    }
}

fn patched(patch: &NodePatch, now: Timestamp) -> String {
    match patch {
        NodePatch::Claim(claim) => format!("claim {}", claimed(claim, now)),
        NodePatch::Note(claim) => format!("note {}", claimed(claim, now)),
        NodePatch::Release(claim) => {
            let left = if claim.cordoned && !claim.was_unschedulable {
                "uncordon"
            } else {
                "leave the cordon as it is"
            };
            format!("release and {left}: {}", claimed(claim, now))
        }
        NodePatch::Forget => "forget the claim".to_owned(),
        NodePatch::Taints => "change its taints".to_owned(),
    }
}

fn rolled(patch: &RolloutPatch) -> String {
    match patch {
        RolloutPatch::Begin(note) => format!("roll out as {}, epoch {}", note.value(), note.epoch),
        RolloutPatch::Forget => "forget its rollout".to_owned(),
        RolloutPatch::Undo { before } => format!("take its rollout back to {before:?}"),
    }
}

fn tainted(taints: Option<&[NodeTaint]>) -> String {
    let Some(taints) = taints else { return String::new() };
    let told: Vec<String> = taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect();
    format!(", with the taints [{}]", told.join(", "))
}

fn claimed(claim: &Claim, now: Timestamp) -> String {
    let mut text = format!("{} of run {}, epoch {}", claim.step, claim.run, claim.epoch);
    let cordon = if claim.cordoned { "with a cordon" } else { "without a cordon" };
    write!(text, ", {cordon}, {}", when(claim.at, now)).unwrap();
    if claim.was_unschedulable {
        text.push_str(", was unschedulable before");
    }
    if let Some(since) = claim.blocked_since {
        write!(text, ", blocked {}", when(since, now)).unwrap();
    }
    if let Some(reported) = &claim.reported {
        write!(text, ", reported {} with heartbeat {}", when(reported.at, now), reported.heartbeat).unwrap();
    }
    text
}

fn probe(probe: &Probe) -> String {
    match probe {
        Probe::ClusterUid => "which cluster this is".to_owned(),
        Probe::Api => "the API endpoint".to_owned(),
        Probe::Heartbeat(node) => format!("the heartbeat of {node}"),
        Probe::Lock => "the lease".to_owned(),
        Probe::Node(name) => format!("node/{name}, its pods and Jobs"),
        Probe::Published => "the published status".to_owned(),
        Probe::Long(name) => format!("the work {name}"),
        Probe::Workload(workload) => workload.to_string(),
        Probe::Earlier(of) => format!("the addon {} at commit {}", of.addon, of.commit.short()),
        Probe::Evidence(question) => format!("the objects of {} as a whole", question.addon),
        Probe::Right(of) => format!("right {of}"),
        Probe::Manifests(question) => format!("the objects of {}", question.addon),
    }
}
