//! A case of a plan: what is asked for, and what there is. The words are those of [`worlds`](crate::worlds).

use serde::Deserialize;
use windlass::model::desired::Desired;
use windlass::model::live::Live;

use crate::worlds::{Marks, Sight, Wish};

pub use crate::worlds::{add_node, add_pod, desired, pool, set_control_plane};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the case is about.
    pub about: String,
    desired: Wish,
    #[serde(default)]
    live: Sight,
}

impl Case {
    pub fn read(text: &str) -> Self {
        serde_saphyr::from_str(text).unwrap()
    }

    pub fn desired(&self) -> Desired {
        self.desired.desired()
    }

    pub fn live(&self) -> Live {
        let (live, marks) = self.live.live();
        assert_eq!(marks, Marks::default(), "words that no plan is made from");
        live
    }
}
