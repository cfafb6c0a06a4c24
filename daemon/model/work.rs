//! What a step does, as a sum of all kinds of work, which step it is, and the facts by which anyone tells where it
//! stands. A new kind of work is a new variant here and one file in `work/`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::desired::Provider;
use super::version::Version;

/// Which part of a node a step moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Component {
    /// The control plane components of one node: API server, controller manager, scheduler and etcd.
    ControlPlane,
    /// The kubelet of one node, and with it what the node runs.
    Kubelet,
}

impl Component {
    /// As names and labels of Kubernetes objects may hold it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Kubelet => "kubelet",
        }
    }
}

/// The part of a cluster that a step belongs to; limits are kept for each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    ControlPlane,
    Pool(String),
    Addon(String),
    Check(String),
}

impl Scope {
    /// The name of the control plane's scope, beside the names of the pools; no pool may be called so.
    pub const CONTROL_PLANE: &'static str = "controlPlane";

    /// `controlPlane`, or the name of the pool, addon or check.
    pub fn name(&self) -> &str {
        match self {
            Self::ControlPlane => Self::CONTROL_PLANE,
            Self::Pool(name) | Self::Addon(name) | Self::Check(name) => name,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ControlPlane | Self::Pool(_) => out.write_str(self.name()),
            Self::Addon(name) => write!(out, "addon/{name}"),
            Self::Check(name) => write!(out, "check/{name}"),
        }
    }
}

/// One node: a node that was deleted and came back under its name is another node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeRef {
    pub name: String,
    pub uid: String,
}

/// The kinds of [`Work`], without what each needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WorkKind {
    ControlPlane,
    Kubelet,
    AwaitControlPlane,
}

impl WorkKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlPlane => "controlPlane",
            Self::Kubelet => "kubelet",
            Self::AwaitControlPlane => "awaitControlPlane",
        }
    }

    /// What it moves, as people call it; `node` is the name of the step's node.
    pub fn moved_thing(self, node: &str) -> String {
        match self {
            Self::ControlPlane => format!("the control plane of {node}"),
            Self::Kubelet => node.to_owned(),
            Self::AwaitControlPlane => "the hosted control plane".to_owned(),
        }
    }

    /// Whether it takes nothing out and writes nothing to the cluster: an external system does the work.
    pub fn only_waits(self) -> bool {
        match self {
            Self::AwaitControlPlane => true,
            Self::ControlPlane | Self::Kubelet => false,
        }
    }
}

/// Which step it is, unique within its cluster and run. It is compared and kept as data; its text is for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepId {
    pub scope: Scope,
    /// The version that it moves to, as text: the versions of addons are not those of Kubernetes.
    pub to: String,
    /// Nothing for work that concerns no single node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeRef>,
    pub kind: WorkKind,
}

impl StepId {
    /// `node/w1`, or `cluster` for work without a node.
    pub fn object(&self) -> String {
        self.node.as_ref().map_or_else(|| "cluster".to_owned(), |node| format!("node/{}", node.name))
    }

    pub fn node_name(&self) -> Option<&str> {
        self.node.as_ref().map(|node| node.name.as_str())
    }
}

/// `general/v1.36.3/w1@0b1c…/kubelet`.
impl fmt::Display for StepId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.scope, self.to)?;
        if let Some(NodeRef { name, uid }) = &self.node {
            write!(out, "/{name}@{uid}")?;
        }
        write!(out, "/{}", self.kind.as_str())
    }
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Work {
    /// The control plane components of one control plane node are moved in place.
    ControlPlane(NodeMove),
    /// The kubelet of one node is moved, and the node is emptied first where that is asked for.
    Kubelet(NodeMove),
    /// A control plane that somebody else moves is waited for.
    AwaitControlPlane { from: Version, to: Version },
}

/// The move of one component of one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeMove {
    pub node: NodeRef,
    pub zone: String,
    pub provider: Provider,
    pub from: Version,
    pub to: Version,
    /// Whether the node is emptied first.
    pub drain: bool,
    pub canary: bool,
}

impl Work {
    pub fn kind(&self) -> WorkKind {
        match self {
            Self::ControlPlane(_) => WorkKind::ControlPlane,
            Self::Kubelet(_) => WorkKind::Kubelet,
            Self::AwaitControlPlane { .. } => WorkKind::AwaitControlPlane,
        }
    }

    /// The move of a node's component, where the work is one.
    pub fn node_move(&self) -> Option<(Component, &NodeMove)> {
        match self {
            Self::ControlPlane(mv) => Some((Component::ControlPlane, mv)),
            Self::Kubelet(mv) => Some((Component::Kubelet, mv)),
            Self::AwaitControlPlane { .. } => None,
        }
    }

    pub fn versions(&self) -> (&Version, &Version) {
        match self {
            Self::ControlPlane(mv) | Self::Kubelet(mv) => (&mv.from, &mv.to),
            Self::AwaitControlPlane { from, to } => (from, to),
        }
    }
}

/// How far a move goes: patch moves may pass where minor ones wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MoveKind {
    Patch,
    Minor,
}

/// One statement about a cluster. Planner, checker and executor all ask it, so that they mean the same by "upgraded".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fact {
    /// This component of this node runs at least this version: somebody else may have moved it further.
    RunsAtLeast(Component, String, Version),
    /// Every API server of the cluster runs at least this version.
    ControlPlaneAtLeast(Version),
    /// The node is Ready.
    Ready(String),
    /// The node exists with this UID.
    Exists(NodeRef),
}

/// What is known of a fact. Unknown is not healthy: nothing is begun or ended on the strength of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    Holds,
    Fails,
    Unknown,
}

impl Truth {
    /// Nothing where it was not seen.
    pub fn of(seen: Option<bool>) -> Self {
        match seen {
            Some(true) => Self::Holds,
            Some(false) => Self::Fails,
            None => Self::Unknown,
        }
    }
}

/// Where a step stands in the world as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// Everything that it achieves holds.
    Done,
    /// It is not done, and everything that it expects holds.
    Ready,
    /// This expectation does not hold.
    Broken(&'a Fact),
    /// Whether this expectation holds is not known.
    Unknown(&'a Fact),
}

/// One move, small enough to be checked before and after.
///
/// It carries no progress marker: a restarted daemon finds its place by putting these facts to a fresh live cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Step {
    pub id: StepId,
    pub work: Work,
    /// What has to hold before it is begun.
    pub expects: Vec<Fact>,
    /// What holds once it is done.
    pub achieves: Vec<Fact>,
}

/// A step as a file holds it: the id follows from scope and work, so it is not written beside them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    scope: Scope,
    work: Work,
    expects: Vec<Fact>,
    achieves: Vec<Fact>,
}

impl From<Written> for Step {
    fn from(written: Written) -> Self {
        Self::new(written.scope, written.work, written.expects, written.achieves)
    }
}

impl From<Step> for Written {
    fn from(step: Step) -> Self {
        Self { scope: step.id.scope, work: step.work, expects: step.expects, achieves: step.achieves }
    }
}

impl Step {
    pub fn new(scope: Scope, work: Work, expects: Vec<Fact>, achieves: Vec<Fact>) -> Self {
        let id = StepId {
            scope,
            to: work.versions().1.to_string(),
            node: work.node_move().map(|(_, mv)| mv.node.clone()),
            kind: work.kind(),
        };
        Self { id, work, expects, achieves }
    }

    /// The name of the node that it moves, where it moves one.
    pub fn node(&self) -> Option<&str> {
        self.id.node_name()
    }

    pub fn node_move(&self) -> Option<&NodeMove> {
        self.work.node_move().map(|(_, mv)| mv)
    }

    pub fn component(&self) -> Option<Component> {
        self.work.node_move().map(|(component, _)| component)
    }

    pub fn from(&self) -> &Version {
        self.work.versions().0
    }

    pub fn to(&self) -> &Version {
        self.work.versions().1
    }

    pub fn drains(&self) -> bool {
        self.node_move().is_some_and(|mv| mv.drain)
    }

    /// How far it goes, by its own versions: a patch step of a run that crosses a minor is a patch.
    pub fn move_kind(&self) -> MoveKind {
        if self.from().same_minor(self.to()) { MoveKind::Patch } else { MoveKind::Minor }
    }

    /// Where it stands, by its own facts.
    pub fn standing(&self, truth: impl Fn(&Fact) -> Truth) -> Standing<'_> {
        if self.achieves.iter().all(|fact| truth(fact) == Truth::Holds) {
            return Standing::Done;
        }
        for fact in &self.expects {
            match truth(fact) {
                Truth::Holds => {}
                Truth::Fails => return Standing::Broken(fact),
                Truth::Unknown => return Standing::Unknown(fact),
            }
        }
        Standing::Ready
    }

    /// Whether what it moves has arrived, whether it is healthy yet or not.
    pub fn arrived(&self, truth: impl Fn(&Fact) -> Truth) -> bool {
        let mut moves = self.achieves.iter().filter(|fact| fact.is_version()).peekable();
        moves.peek().is_some() && moves.all(|fact| truth(fact) == Truth::Holds)
    }
}

impl Fact {
    /// Whether it is about a version, and not about health or existence.
    pub fn is_version(&self) -> bool {
        match self {
            Self::RunsAtLeast(..) | Self::ControlPlaneAtLeast(_) => true,
            Self::Ready(_) | Self::Exists(_) => false,
        }
    }
}
