//! The kinds of work a step can do, and the id of a step. A new kind of work is a variant here and a file in `work/`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::desired::Provider;
use super::installed::InstalledCheck;
use super::version::Version;

pub use super::addon::AddonMove;
pub use super::fact::{Fact, OrLater, Truth};

/// The part of a node that a step moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Component {
    /// The control plane components of one node: API server, controller manager, scheduler and etcd.
    ControlPlane,
    /// The kubelet of one node.
    Kubelet,
}

impl Component {
    /// The form for names and labels of Kubernetes objects.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Kubelet => "kubelet",
        }
    }
}

/// The part of a cluster that a step belongs to. Each has its own limits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    ControlPlane,
    Pool(String),
    Addon(String),
    Check(String),
}

impl Scope {
    /// The name of the control plane's scope. No pool may have it.
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

/// One node. A node that was deleted and created again under its name is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeRef {
    pub name: String,
    pub uid: String,
}

/// The kinds of [`Work`], without their data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WorkKind {
    ControlPlane,
    Kubelet,
    AwaitControlPlane,
    Addon,
    Check,
}

impl WorkKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlPlane => "controlPlane",
            Self::Kubelet => "kubelet",
            Self::AwaitControlPlane => "awaitControlPlane",
            Self::Addon => "addon",
            Self::Check => "check",
        }
    }

    /// What it moves, as people call it; `of` is the name of the step's node, or of its addon or check.
    pub fn moved_thing(self, of: &str) -> String {
        match self {
            Self::Addon => format!("the addon {of}"),
            Self::Check => format!("the check of {of}"),
            Self::ControlPlane => format!("the control plane of {of}"),
            Self::Kubelet => of.to_owned(),
            Self::AwaitControlPlane => "the hosted control plane".to_owned(),
        }
    }

    /// Whether it takes nothing out and writes nothing to the cluster: another program does the work.
    pub fn only_waits(self) -> bool {
        match self {
            Self::AwaitControlPlane | Self::Check => true,
            Self::ControlPlane | Self::Kubelet | Self::Addon => false,
        }
    }
}

/// The id of a step, unique within its cluster and run. It is compared and stored as data; its text is for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepId {
    pub scope: Scope,
    /// The target version as text: an addon's version is no Kubernetes version.
    pub to: String,
    /// `None` for work that is not about one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeRef>,
    pub kind: WorkKind,
}

impl StepId {
    /// `node/w1`, `addon/coredns`, `check/kube-proxy`, or `cluster` for work without any of them.
    pub fn object(&self) -> String {
        match (&self.node, &self.scope) {
            (Some(node), _) => format!("node/{}", node.name),
            (None, Scope::Addon(_) | Scope::Check(_)) => self.scope.to_string(),
            (None, _) => "cluster".to_owned(),
        }
    }

    pub fn node_name(&self) -> Option<&str> {
        self.node.as_ref().map(|node| node.name.as_str())
    }
}

/// `general/v1.36.3/w1@0b1c…/kubelet`, `addon/coredns/v1.12.1`, `check/kube-proxy/v1.36.3`.
impl fmt::Display for StepId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.scope, self.to)?;
        if let Some(NodeRef { name, uid }) = &self.node {
            write!(out, "/{name}@{uid}")?;
        }
        match self.kind {
            // Its scope has said it.
            WorkKind::Addon | WorkKind::Check => Ok(()),
            kind => write!(out, "/{}", kind.as_str()),
        }
    }
}

impl StepId {
    /// True if this is the text of the id. Claims on nodes have the text; it is compared without making another.
    pub fn is_shown_as(&self, text: &str) -> bool {
        struct Rest<'a>(&'a str);
        impl fmt::Write for Rest<'_> {
            fn write_str(&mut self, part: &str) -> fmt::Result {
                self.0 = self.0.strip_prefix(part).ok_or(fmt::Error)?;
                Ok(())
            }
        }
        let mut rest = Rest(text);
        fmt::write(&mut rest, format_args!("{self}")).is_ok() && rest.0.is_empty()
    }
}

/// The work of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Work {
    /// Moves the control plane components of one control plane node in place.
    ControlPlane(NodeMove),
    /// Moves the kubelet of one node; the node is drained first if the move says so.
    Kubelet(NodeMove),
    /// Waits for a control plane that an external provider moves.
    AwaitControlPlane { from: Version, to: Version },
    /// Gives the container of a workload another image.
    Addon(AddonMove),
    /// Waits until what kubeadm has moved with the control plane has come.
    Check(InstalledCheck),
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
    /// True if the node is drained first.
    pub drain: bool,
    pub canary: bool,
}

impl Work {
    pub fn kind(&self) -> WorkKind {
        match self {
            Self::ControlPlane(_) => WorkKind::ControlPlane,
            Self::Kubelet(_) => WorkKind::Kubelet,
            Self::AwaitControlPlane { .. } => WorkKind::AwaitControlPlane,
            Self::Addon(_) => WorkKind::Addon,
            Self::Check(_) => WorkKind::Check,
        }
    }

    /// The component and the move; `None` for work that moves no node.
    pub fn node_move(&self) -> Option<(Component, &NodeMove)> {
        match self {
            Self::ControlPlane(mv) => Some((Component::ControlPlane, mv)),
            Self::Kubelet(mv) => Some((Component::Kubelet, mv)),
            Self::AwaitControlPlane { .. } | Self::Addon(_) | Self::Check(_) => None,
        }
    }

    /// The versions of Kubernetes between which it moves; for an addon, which moves neither, what runs meanwhile.
    pub fn versions(&self) -> (&Version, &Version) {
        match self {
            Self::ControlPlane(mv) | Self::Kubelet(mv) => (&mv.from, &mv.to),
            Self::AwaitControlPlane { from, to } => (from, to),
            Self::Addon(mv) => (&mv.kubernetes, &mv.kubernetes),
            Self::Check(of) => (&of.from, &of.to),
        }
    }
}

impl Work {
    /// The version that it moves to, as text: an addon's is none of Kubernetes.
    pub fn target(&self) -> String {
        match self {
            Self::Addon(mv) => mv.to.clone(),
            Self::ControlPlane(_) | Self::Kubelet(_) | Self::AwaitControlPlane { .. } | Self::Check(_) => {
                self.versions().1.to_string()
            }
        }
    }

    pub fn addon(&self) -> Option<&AddonMove> {
        match self {
            Self::Addon(mv) => Some(mv),
            Self::ControlPlane(_) | Self::Kubelet(_) | Self::AwaitControlPlane { .. } | Self::Check(_) => {
                None
            }
        }
    }

    pub fn check(&self) -> Option<&InstalledCheck> {
        match self {
            Self::Check(of) => Some(of),
            Self::ControlPlane(_) | Self::Kubelet(_) | Self::AwaitControlPlane { .. } | Self::Addon(_) => {
                None
            }
        }
    }
}

/// How far a move goes. A policy may let patch moves pass and hold minor ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MoveKind {
    Patch,
    Minor,
}

/// Where a step stands in the live cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// All facts that the step achieves hold.
    Done,
    /// The step is not done, and all facts that it expects hold.
    Ready,
    /// This expected fact does not hold.
    Broken(&'a Fact),
    /// Whether this expected fact holds is unknown.
    Unknown(&'a Fact),
}

/// One step, small enough to be checked before and after.
///
/// It has no progress marker: a restarted daemon checks these facts against a new live cluster to find where the step
/// stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Step {
    pub id: StepId,
    pub work: Work,
    /// The facts that must hold before the step begins.
    pub expects: Vec<Fact>,
    /// The facts that hold once the step is done.
    pub achieves: Vec<Fact>,
}

/// The form of a step in files. The id follows from scope and work, so it is not written.
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
            to: work.target(),
            node: work.node_move().map(|(_, mv)| mv.node.clone()),
            kind: work.kind(),
        };
        Self { id, work, expects, achieves }
    }

    /// The name of the node that the step moves; `None` if it moves none.
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

    /// How far the move goes, by the versions of this step: a patch step is a patch move even in a run that crosses a
    /// minor. The move of an addon counts as the larger one: its version follows no rule that Windlass knows.
    pub fn move_kind(&self) -> MoveKind {
        if let Work::Addon(_) = self.work {
            return MoveKind::Minor;
        }
        if self.from().same_minor(self.to()) { MoveKind::Patch } else { MoveKind::Minor }
    }

    /// Where the step stands, by its facts.
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

    /// True if the component runs the target version, healthy or not.
    pub fn arrived(&self, truth: impl Fn(&Fact) -> Truth) -> bool {
        let mut moves = self.achieves.iter().filter(|fact| fact.is_version()).peekable();
        moves.peek().is_some() && moves.all(|fact| truth(fact) == Truth::Holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_by_its_whole_text() {
        let id = StepId {
            scope: Scope::Pool("general".to_owned()),
            to: "v1.36.3".to_owned(),
            node: Some(NodeRef { name: "w1".to_owned(), uid: "0b1c".to_owned() }),
            kind: WorkKind::Kubelet,
        };
        let text = id.to_string();
        assert!(id.is_shown_as(&text));
        for other in ["", text.get(1..).unwrap_or_default(), &format!("{text}/"), &text.replace("w1", "w2")] {
            assert!(!id.is_shown_as(other), "{other}");
        }
    }
}
