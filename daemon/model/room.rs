//! What a pod asks for of a node, and what a node has for pods, in whole units so that it takes little memory.

/// What a pod asks for, rounded up: processors in hundredths of one, memory in units of 4 MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    pub cpu: u16,
    pub memory: u16,
}

/// What a node has for pods, rounded down, in the same units; and how many pods it may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocatable {
    pub cpu: u32,
    pub memory: u32,
    pub pods: u32,
}

impl Allocatable {
    /// What is left beside a pod that asks for this; `None` if the pod does not fit.
    pub fn without(self, of: Requests) -> Option<Self> {
        Some(Self {
            cpu: self.cpu.checked_sub(u32::from(of.cpu))?,
            memory: self.memory.checked_sub(u32::from(of.memory))?,
            pods: self.pods.checked_sub(1)?,
        })
    }

    /// The same for a pod that is there already: a node may be full beyond its measure.
    #[must_use]
    pub fn beside(self, of: Requests) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(u32::from(of.cpu)),
            memory: self.memory.saturating_sub(u32::from(of.memory)),
            pods: self.pods.saturating_sub(1),
        }
    }
}
