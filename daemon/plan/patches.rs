//! The newest known patch of each minor, for the hops before the last. The cluster file has only the last hop's
//! version, and a plan must not depend on what a server on the internet says today.

use crate::model::version::Version;

/// The table as of this release of Windlass. A reviewed plan has the exact versions, so a newer table in a newer
/// release shows as a changed plan.
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

/// The newest known patch of a minor; `.0`, which every minor has, for a minor that is not in the table.
pub(super) fn newest_known(minor: u16) -> Version {
    let patch = NEWEST.iter().find(|(known, _)| *known == minor).map_or(0, |(_, patch)| *patch);
    Version::new(1, minor, patch)
}

/// True if the table has the version's minor and a patch that is not older. A later release may know more.
pub(super) fn is_listed(version: &Version) -> bool {
    let patch = NEWEST.iter().find(|(known, _)| *known == version.minor).map(|(_, patch)| *patch);
    version.major == 1 && patch.is_some_and(|patch| version.patch <= patch)
}
