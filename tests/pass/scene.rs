//! A case in the long form that a pass takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use windlass::gate::{Census, Others};
use windlass::model::CommitId;
use windlass::model::decision::{Key, Reason};
use windlass::model::desired::{AtClose, Desired, Freeze, Mode, Opening, Opens, Policies, Selector, Window};
use windlass::model::entry::Entry;
use windlass::model::live::Live;
use windlass::model::plan::Plan;
use windlass::model::state::{DesiredState, Identity};
use windlass::plan::{asked, proposal};
use windlass::reconcile::Input;
use windlass::record::Record;

use super::case::{Case, length, lines};
use super::{marks, story};
use crate::worlds::Sight;

pub const HOLDER: &str = "host-a-1";

/// Everything that a pass looks at.
pub struct Scene {
    pub me: Identity,
    pub state: DesiredState,
    pub live: Live,
    pub record: Record,
    /// What the record was made from.
    pub journal: Vec<Entry>,
    pub fresh: Option<Plan>,
    pub census: Census,
    pub others: Others,
    pub trouble: Option<Reason>,
    pub now: Timestamp,
}

impl Scene {
    pub fn of(case: &Case) -> Self {
        let desired = desired(case);
        let state = state(case, &desired);
        let (then, _) = sight(case, true).live();
        let (mut live, more) = sight(case, false).live();
        let (record, journal) = story::write(case, &then, &desired, &state);
        marks::put(&mut live, case, &record, more);
        let of_git = |reason: &str| Reason::new(Key::RecordUnreachable, "record", reason);
        let me = Identity {
            cluster: desired.cluster.name.clone(),
            holder: HOLDER.to_owned(),
            predecessors: BTreeSet::new(),
            twin: case.around.twin.clone(),
        };
        let fresh = record.run.is_none().then(|| proposal(&desired, &live).unwrap());
        Self {
            census: Census::of(&desired.cluster, &live),
            me,
            state,
            live,
            record,
            journal,
            fresh,
            others: Others::new(),
            trouble: case.around.git_away.then(|| of_git("the git host does not answer")),
            now: case.now,
        }
    }

    pub fn input(&self) -> Input<'_> {
        Input {
            me: &self.me,
            state: &self.state,
            live: &self.live,
            record: &self.record,
            fresh: self.fresh.as_ref(),
            census: &self.census,
            others: &self.others,
            trouble: self.trouble.as_ref(),
            now: self.now,
            wall: self.now,
        }
    }
}

fn sight(case: &Case, then: bool) -> Sight {
    let of = |all| lines(all, then);
    let (nodes, pods, addons) = (of(&case.live.nodes), of(&case.live.pods), of(&case.live.addons));
    Sight { nodes, pods, addons, ..case.live.clone() }
}

fn desired(case: &Case) -> Desired {
    let mut desired = case.desired.desired();
    if case.observe {
        desired.cluster.mode = Mode::Observe;
    }
    desired.policies = Policies {
        windows: case.windows.iter().map(|(name, words)| window(name, words, case.now)).collect(),
        freezes: case.freezes.iter().map(|(name, words)| freeze(name, words, case.now)).collect(),
    };
    desired
}

fn state(case: &Case, desired: &Desired) -> DesiredState {
    let newest = CommitId("bad0bad0".repeat(5));
    let (newest, problems, rewritten) = match case.newest.as_deref() {
        None => (desired.commit.clone(), Vec::new(), false),
        Some("broken") => {
            let problem =
                "desired-state/prod-eu/cluster.yaml:7:5: `verison` is no key here; did you mean `version`?";
            (newest, vec![problem.to_owned()], false)
        }
        Some("rewritten" | "unproven") => {
            let problem = "it does not descend from c0ffee00c0ff, which is in force: the branch's history was rewritten";
            (newest, vec![problem.to_owned()], true)
        }
        Some(other) => panic!("`{other}` says nothing of a commit"),
    };
    let asked = asked(&desired.cluster).unwrap();
    let unproven = case.newest.as_deref() == Some("unproven");
    DesiredState {
        newest,
        desired: Some(Arc::new(desired.clone())),
        asked,
        problems,
        rewritten,
        unproven,
        by: None,
    }
}

/// Four hours, every day, so that the last close or the next lies where the words say.
fn window(name: &str, words: &str, now: Timestamp) -> Window {
    let hours = SignedDuration::from_hours;
    let mut window = Window {
        name: name.to_owned(),
        clusters: Selector::default(),
        time_zone: TimeZone::UTC,
        opens: Opens::Always,
        at_close: AtClose::FinishNode,
        hard_limit: None,
    };
    let opens_for =
        words.split_whitespace().find_map(|word| word.strip_prefix("for:")).map_or(hours(4), length);
    let opened = |at: Timestamp| {
        let (days, at) = (Vec::new(), TimeZone::UTC.to_datetime(at).time());
        Opens::Weekly(vec![Opening { days, at, length: opens_for }])
    };
    for word in words.split_whitespace() {
        match word.split_once(':').unwrap_or((word, "")) {
            ("always", "") | ("for", _) => {}
            ("open", left) => window.opens = opened(now + length(left) - opens_for),
            ("closed", since) => window.opens = opened(now - length(since) - opens_for),
            ("finishBatch", "") => window.at_close = AtClose::FinishBatch,
            ("runOn", "") => window.at_close = AtClose::RunOn,
            ("hardLimit", limit) => window.hard_limit = Some(length(limit)),
            _ => panic!("`{word}` says nothing of a window"),
        }
    }
    window
}

/// From the day before until the words say.
fn freeze(name: &str, words: &str, now: Timestamp) -> Freeze {
    let local = |at: Timestamp| -> DateTime { TimeZone::UTC.to_datetime(at) };
    let mut freeze = Freeze {
        name: name.to_owned(),
        clusters: Selector::default(),
        from: local(now).date().to_datetime(Time::midnight()),
        until: local(now),
        time_zone: TimeZone::UTC,
        reason: "year-end trading".to_owned(),
        except_patch: false,
    };
    for word in words.split_whitespace() {
        match word.split_once(':').unwrap_or((word, "")) {
            ("until", left) => freeze.until = local(now + length(left)),
            ("except", "patch") => freeze.except_patch = true,
            _ => panic!("`{word}` says nothing of a freeze"),
        }
    }
    freeze
}

/// Lengths of time by name.
pub fn ages(ages: &BTreeMap<String, String>, now: Timestamp) -> impl Iterator<Item = (&str, Timestamp)> {
    ages.iter().map(move |(name, age)| (name.as_str(), now - length(age)))
}
