//! All nodes of a cluster, with an index of those of its control plane: a pass asks for them several times, and must not
//! walk thousands of workers for it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use super::live::{Id, Node};

/// The nodes of a cluster by name. It reads like the map that it holds.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    all: BTreeMap<Id, Node>,
    /// Names of the nodes whose `control_plane` is true.
    control_plane: BTreeSet<Id>,
    /// Names of the nodes that were put in, taken out or changed since [`Nodes::take_changed`].
    changed: BTreeSet<Id>,
}

impl Nodes {
    /// Puts a node in, in place of one of the same name.
    pub fn insert(&mut self, name: Id, node: Node) {
        if node.control_plane {
            self.control_plane.insert(name.clone());
        } else {
            self.control_plane.remove(&name);
        }
        self.changed.insert(name.clone());
        self.all.insert(name, node);
    }

    /// Takes a node out; `None` if there is none of this name.
    pub fn remove(&mut self, name: &str) -> Option<Node> {
        self.control_plane.remove(name);
        let (name, node) = self.all.remove_entry(name)?;
        self.changed.insert(name);
        Some(node)
    }

    /// The node of this name, to be changed in place. Whether it is a control plane node does not change this way:
    /// [`Nodes::insert`] does that.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        let node = self.all.get_mut(name)?;
        self.changed.insert(node.name.clone());
        Some(node)
    }

    /// Names of the nodes that are not as they were at the last call, those that are gone as well. Who counts nodes asks
    /// this, and nobody else.
    pub fn take_changed(&mut self) -> BTreeSet<Id> {
        std::mem::take(&mut self.changed)
    }

    /// The control plane nodes, by name.
    pub fn control_plane(&self) -> impl Iterator<Item = &Node> {
        self.control_plane.iter().filter_map(|name| self.all.get(name))
    }
}

impl Deref for Nodes {
    type Target = BTreeMap<Id, Node>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}
