//! A question to the gates: a moment, a step if there is one, and the world in which it is asked.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::calendar::{AtNow, Calendar, CalendarState, LOOK, MoveKind, after_close};
use super::census::{Books, Census};
use super::debts::{PoolDebts, by_pool};
use crate::model::decision::{Answer, Reason};

pub use crate::model::decision::Moment;
use crate::model::desired::Desired;
use crate::model::live::{Live, Node};
use crate::model::plan::{Plan, PoolLimits, Stage};
use crate::model::state::{DesiredState, Identity, RunState, Tenure};
use crate::model::time::later;
use crate::model::work::{Step, WorkKind};
use crate::record::{Record, Run, StepRecord};

/// The states of the other clusters of this repository, by name.
pub type Others = BTreeMap<String, RunState>;

/// Everything that a gate may read.
#[derive(Debug)]
pub struct World<'a> {
    pub me: &'a Identity,
    pub state: &'a DesiredState,
    /// `None` if the cluster was not read. Then only git and the record answer.
    pub live: Option<&'a Live>,
    pub record: &'a Record,
    pub others: &'a Others,
    pub census: &'a Census,
    pub tenure: &'a Tenure,
    /// Why the record cannot be written now.
    pub trouble: Option<&'a Reason>,
    pub now: Timestamp,
    /// The time of day, for the calendar.
    pub wall: Timestamp,
    /// The calendar's answers for patch and minor moves. They cost more than all other gates together and are the
    /// same for every step of a kind, so each is computed once.
    calendar: [OnceCell<CalendarNow>; 2],
    /// What owners of evicted pods still miss, by pool.
    debts: OnceCell<BTreeMap<String, PoolDebts>>,
    /// The watch gate's answers, which are the same for every question.
    pub(super) not_current: OnceCell<Vec<Answer>>,
}

#[derive(Debug)]
pub(super) struct CalendarNow {
    pub(super) state: CalendarState,
    pub(super) window: Answer,
    pub(super) freezes: Vec<Answer>,
    /// How long the longest opening is, as far ahead as [`LOOK`]. Computed when something does not fit into the present one.
    pub(super) longest: OnceCell<SignedDuration>,
}

/// The parts of a [`World`].
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    pub me: &'a Identity,
    pub state: &'a DesiredState,
    pub live: Option<&'a Live>,
    pub record: &'a Record,
    pub others: &'a Others,
    pub census: &'a Census,
    pub tenure: &'a Tenure,
    pub trouble: Option<&'a Reason>,
    pub now: Timestamp,
    pub wall: Timestamp,
}

impl<'a> World<'a> {
    pub fn new(of: Sources<'a>) -> Self {
        let Sources { me, state, live, record, others, census, tenure, trouble, now, wall } = of;
        Self {
            me,
            state,
            live,
            record,
            others,
            census,
            tenure,
            trouble,
            now,
            wall,
            calendar: Default::default(),
            debts: OnceCell::new(),
            not_current: OnceCell::new(),
        }
    }

    pub fn desired(&self) -> Option<&'a Desired> {
        self.state.desired.as_deref()
    }

    /// `cluster/prod-eu`.
    pub fn object(&self) -> String {
        format!("cluster/{}", self.me.cluster)
    }

    /// What owners of evicted pods still miss, by pool.
    pub(super) fn debts(&self, live: &Live) -> &BTreeMap<String, PoolDebts> {
        let run = self.record.run.as_ref();
        self.debts.get_or_init(|| run.map_or_else(BTreeMap::new, |run| by_pool(live, run)))
    }

    pub(super) fn calendar(&self, kind: MoveKind) -> Option<&CalendarNow> {
        let desired = self.desired()?;
        let cell = match kind {
            MoveKind::Patch => self.calendar.first(),
            MoveKind::Minor => self.calendar.last(),
        };
        Some(cell?.get_or_init(|| {
            let calendar = Calendar::of(&desired.policies, &desired.cluster.labels, &self.me.cluster);
            let (window, freezes) = calendar.answers(kind, self.wall);
            CalendarNow { state: calendar.state(kind, self.wall), window, freezes, longest: OnceCell::new() }
        }))
    }

    /// How long the longest opening for moves of this kind is, what is left of the present one included.
    pub(super) fn longest_opening(&self, kind: MoveKind) -> Option<SignedDuration> {
        let desired = self.desired()?;
        let longest = &self.calendar(kind)?.longest;
        Some(*longest.get_or_init(|| {
            let calendar = Calendar::of(&desired.policies, &desired.cluster.labels, &self.me.cluster);
            let stretches = calendar.stretches(kind, self.wall, later(self.wall, LOOK));
            let left =
                stretches.iter().map(|stretch| stretch.until.duration_since(stretch.from.max(self.wall)));
            left.max().unwrap_or_default()
        }))
    }

    /// When the calendar changes next, for the kinds of move that were asked about: a close, or the hard limit after
    /// one. By the clock of lengths of time.
    pub fn calendar_changes(&self) -> Option<Timestamp> {
        let known = self.calendar.iter().filter_map(OnceCell::get);
        let changes = known.filter_map(|known| match known.state {
            CalendarState::Open { closes, .. } => closes,
            CalendarState::Closed { hard_limit_at, .. } => hard_limit_at,
        });
        let next = changes.filter(|at| *at > self.wall).min()?;
        Some(later(self.now, next.duration_since(self.wall)))
    }
}

/// One question. A part that it does not have is `None`.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub moment: Moment,
    pub world: &'a World<'a>,
    /// The plan of the run, or the plan that a new run would freeze.
    pub plan: Option<&'a Plan>,
    pub stage: Option<&'a Stage>,
    pub step: Option<&'a Step>,
    /// Which nodes are out, those chosen in this pass included.
    pub books: &'a Books<'a>,
}

impl<'a> Question<'a> {
    /// A question about no step.
    pub fn general(moment: Moment, world: &'a World<'a>, books: &'a Books<'a>) -> Self {
        Self { moment, world, plan: None, stage: None, step: None, books }
    }

    pub(super) fn run(&self) -> Option<&'a Run> {
        self.world.record.run.as_ref()
    }

    pub(super) fn desired(&self) -> Option<&'a Desired> {
        self.world.desired()
    }

    pub(super) fn live(&self) -> Option<&'a Live> {
        self.world.live
    }

    /// The node of the step, if the node has the UID that the plan was made for.
    pub(super) fn node(&self) -> Option<&'a Node> {
        let of = self.step?.id.node.as_ref()?;
        self.live()?.nodes.get(of.name.as_str()).filter(|node| *node.uid == *of.uid)
    }

    /// `node/w1`, `addon/coredns`, `check/kube-proxy`, or the cluster for a question without any of them.
    pub(super) fn object(&self) -> String {
        match self.step {
            Some(step) if step.work.kind() != WorkKind::AwaitControlPlane => step.id.object(),
            Some(_) | None => self.world.object(),
        }
    }

    pub(super) fn limits(&self) -> Option<&'a PoolLimits> {
        self.plan?.limits(&self.step?.id.scope)
    }

    pub(super) fn record_of_step(&self) -> Option<&'a StepRecord> {
        self.run()?.steps.get(&self.step?.id)
    }

    /// True if the step only waits for what another program does.
    pub(super) fn only_waits(&self) -> bool {
        self.step.is_some_and(|step| step.id.kind.only_waits())
    }

    /// True if the step moves an addon.
    pub(super) fn is_addon(&self) -> bool {
        self.step.is_some_and(|step| step.work.addon().is_some())
    }

    /// True if the step belongs to the control plane of a hop, which is one unit.
    pub(super) fn is_control_plane(&self) -> bool {
        self.stage.is_some_and(|stage| stage.kind.is_control_plane())
    }

    /// The other steps of the step's unit, while no node of the unit is changed. What keeps one control plane node
    /// from being moved keeps the whole unit from beginning, also in the time between the intents and the first
    /// claim.
    pub(super) fn peers(&self) -> impl Iterator<Item = Self> {
        let asked = self.moment == Moment::Claim && self.is_control_plane() && !self.hop_begun();
        let plan = self.plan.filter(|_| asked);
        let (hop, own) = (self.stage.map(|stage| stage.hop), self.step.map(|step| &step.id));
        let stages = plan.into_iter().flat_map(|plan| &plan.stages);
        let unit = stages.filter(move |stage| Some(stage.hop) == hop && stage.kind.is_control_plane());
        let steps = unit.flat_map(|stage| stage.steps.iter().map(move |step| (stage, step)));
        let of_others = steps.filter(move |(_, step)| Some(&step.id) != own);
        let question = *self;
        of_others.map(move |(stage, step)| Self { stage: Some(stage), step: Some(step), ..question })
    }

    /// True for a question after the intent was written and before the node is changed.
    pub(super) fn is_in_progress(&self) -> bool {
        match self.moment {
            Moment::StartRun | Moment::TakeOut => false,
            Moment::Claim | Moment::Change | Moment::GoOn => self.step.is_some(),
        }
    }

    /// True if the control plane of this hop was begun, by this run or by one before it. It is then finished whatever
    /// calendar and commits say: API servers of two versions over a weekend are worse.
    pub(super) fn hop_begun(&self) -> bool {
        let (Some(stage), true) = (self.stage, self.is_control_plane()) else { return false };
        let of_run = self.run().is_some_and(|run| run.hop_changed(stage.hop));
        let to = self.plan.map(|plan| &plan.to);
        let left = || to.zip(self.live()).is_some_and(|(to, live)| self.world.record.left_mid_hop(live, to));
        of_run || (stage.hop == 0 && left())
    }

    /// The kind of the step's move. Without a step, that of the run's next step; without one, a minor move, which is
    /// the stricter.
    pub(super) fn kind(&self) -> MoveKind {
        let next = || {
            let run = self.run()?;
            run.not_started(run.open_stage()?).next()
        };
        self.step.or_else(next).map_or(MoveKind::Minor, Step::move_kind)
    }

    /// What the last close, if there was one, lets this run still do.
    pub(super) fn at_now(&self) -> AtNow {
        let began = self.run().and_then(Run::first_intent);
        self.world
            .calendar(self.kind())
            .map_or(AtNow::FinishOnly, |now| after_close(&now.state, began, self.world.wall))
    }
}
