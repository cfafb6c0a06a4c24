//! What is asked of the gates: a moment, a step where there is one, and the world in which it is asked.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use jiff::Timestamp;

use super::calendar::{AtNow, Calendar, CalendarState, MoveKind, after_close};
use super::census::{Books, Census};
use crate::model::decision::{Answer, Reason};

pub use crate::model::decision::Moment;
use crate::model::desired::Desired;
use crate::model::live::{Live, Node};
use crate::model::plan::{Plan, PoolLimits, Stage};
use crate::model::state::{DesiredState, Identity, RunState, Tenure};
use crate::model::work::Step;
use crate::record::{Record, Run, StepRecord};

/// By name: where other clusters of this repository stand.
pub type Others = BTreeMap<String, RunState>;

/// Everything that a gate may look at.
#[derive(Debug)]
pub struct World<'a> {
    pub me: &'a Identity,
    pub state: &'a DesiredState,
    /// Nothing where the cluster was not looked at: then only git and the record answer.
    pub live: Option<&'a Live>,
    pub record: &'a Record,
    pub others: &'a Others,
    pub census: &'a Census,
    pub tenure: &'a Tenure,
    /// Why the record cannot be written at present.
    pub trouble: Option<&'a Reason>,
    pub now: Timestamp,
    /// What the calendar says now to patch and to minor moves: it costs more than all other gates together, and is
    /// the same for every step of a kind.
    calendar: [OnceCell<CalendarNow>; 2],
}

#[derive(Debug)]
pub(super) struct CalendarNow {
    pub(super) state: CalendarState,
    pub(super) window: Answer,
    pub(super) freezes: Vec<Answer>,
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
}

impl<'a> World<'a> {
    pub fn new(of: Sources<'a>) -> Self {
        let Sources { me, state, live, record, others, census, tenure, trouble, now } = of;
        Self { me, state, live, record, others, census, tenure, trouble, now, calendar: Default::default() }
    }

    pub fn desired(&self) -> Option<&'a Desired> {
        self.state.desired.as_deref()
    }

    /// `cluster/prod-eu`.
    pub fn object(&self) -> String {
        format!("cluster/{}", self.me.cluster)
    }

    pub(super) fn calendar(&self, kind: MoveKind) -> Option<&CalendarNow> {
        let desired = self.desired()?;
        let cell = match kind {
            MoveKind::Patch => self.calendar.first(),
            MoveKind::Minor => self.calendar.last(),
        };
        Some(cell?.get_or_init(|| {
            let calendar = Calendar::of(&desired.policies, &desired.cluster.labels, &self.me.cluster);
            let (window, freezes) = calendar.answers(kind, self.now);
            CalendarNow { state: calendar.state(kind, self.now), window, freezes }
        }))
    }

    /// When the calendar changes next, as far as it was asked: a close, or the hard limit after one.
    pub fn calendar_changes(&self) -> Option<Timestamp> {
        let known = self.calendar.iter().filter_map(OnceCell::get);
        let changes = known.filter_map(|known| match known.state {
            CalendarState::Open { closes, .. } => closes,
            CalendarState::Closed { hard_limit_at, .. } => hard_limit_at,
        });
        changes.filter(|at| *at > self.now).min()
    }
}

/// One question. Nothing where the question has none of it.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub moment: Moment,
    pub world: &'a World<'a>,
    /// The plan of the run, or the plan that a run would freeze.
    pub plan: Option<&'a Plan>,
    pub stage: Option<&'a Stage>,
    pub step: Option<&'a Step>,
    /// Which nodes are out, those among them that were chosen in this pass.
    pub books: &'a Books,
}

impl<'a> Question<'a> {
    /// A question about no step.
    pub fn general(moment: Moment, world: &'a World<'a>, books: &'a Books) -> Self {
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

    /// The node of the step: the very one that the plan was made for.
    pub(super) fn node(&self) -> Option<&'a Node> {
        let of = self.step?.id.node.as_ref()?;
        self.live()?.nodes.get(of.name.as_str()).filter(|node| *node.uid == *of.uid)
    }

    /// `node/w1`; the cluster where no node is asked about.
    pub(super) fn object(&self) -> String {
        match self.step.and_then(Step::node) {
            Some(node) => format!("node/{node}"),
            None => self.world.object(),
        }
    }

    pub(super) fn limits(&self) -> Option<&'a PoolLimits> {
        self.plan?.limits(&self.step?.id.scope)
    }

    pub(super) fn record_of_step(&self) -> Option<&'a StepRecord> {
        self.run()?.steps.get(&self.step?.id)
    }

    /// Whether the step takes nothing out: a control plane that somebody else moves is only waited for.
    pub(super) fn only_waits(&self) -> bool {
        self.step.is_some_and(|step| step.id.kind.only_waits())
    }

    /// Whether the step is part of the one unit that the control plane of a hop is.
    pub(super) fn is_control_plane(&self) -> bool {
        self.stage.is_some_and(|stage| stage.kind.is_control_plane())
    }

    /// The other steps of the unit that this one belongs to, while none of it was changed. What keeps one node of a
    /// control plane from being moved keeps all of it from being begun: also between the intents and the first claim.
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

    /// Whether the question is put before the node is changed, and after its intent was written.
    pub(super) fn is_in_progress(&self) -> bool {
        match self.moment {
            Moment::StartRun | Moment::TakeOut => false,
            Moment::Claim | Moment::Change | Moment::GoOn => self.step.is_some(),
        }
    }

    /// Whether the control plane of this hop was begun, by this run or by one before it. Then it is finished whatever
    /// calendar and commits say: split API servers over a weekend are worse.
    pub(super) fn hop_begun(&self) -> bool {
        let (Some(stage), true) = (self.stage, self.is_control_plane()) else { return false };
        let of_run = self.run().is_some_and(|run| run.hop_changed(stage.hop));
        let to = self.plan.map(|plan| &plan.to);
        let left = || to.zip(self.live()).is_some_and(|(to, live)| self.world.record.left_mid_hop(live, to));
        of_run || (stage.hop == 0 && left())
    }

    /// The kind of the move, asked of the step; of the next step of the run where there is none; a minor one where
    /// nothing is known, which is the stricter.
    pub(super) fn kind(&self) -> MoveKind {
        let next = || {
            let run = self.run()?;
            run.not_started(run.open_stage()?).next()
        };
        self.step.or_else(next).map_or(MoveKind::Minor, Step::move_kind)
    }

    /// What a close, if there was one, leaves of the work of this run.
    pub(super) fn at_now(&self) -> AtNow {
        let began = self.run().and_then(Run::first_intent);
        self.world
            .calendar(self.kind())
            .map_or(AtNow::FinishOnly, |now| after_close(&now.state, began, self.world.now))
    }
}
