//! The newest patch known of each minor, for the hops in between: the last hop's version is written in the
//! cluster file, those before it are not, and a plan may not depend on what the internet says today.

use crate::model::version::Version;

/// As of this release of Windlass. A reviewed plan names the exact version, so that a newer table in a newer
/// release shows up as a changed plan and never as a silent one.
const NEWEST: [(u16, u16); 18] = [
    (20, 15),
    (21, 14),
    (22, 17),
    (23, 17),
    (24, 17),
    (25, 16),
    (26, 15),
    (27, 16),
    (28, 15),
    (29, 15),
    (30, 14),
    (31, 14),
    (32, 13),
    (33, 13),
    (34, 4),
    (35, 4),
    (36, 3),
    (37, 2),
];

/// The newest known patch of a minor; `.0`, which every minor has, where the table does not reach.
pub(super) fn newest_known(minor: u16) -> Version {
    let patch = NEWEST.iter().find(|(known, _)| *known == minor).map_or(0, |(_, patch)| *patch);
    Version::new(1, minor, patch)
}
