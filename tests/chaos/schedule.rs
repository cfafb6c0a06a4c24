//! What happens to one run, drawn from a seed: faults of the line, and what people and machines do.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::world::line::{Fault, How};

/// A splitmix64 generator.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number below another one.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn within(&mut self, from: i64, until: i64) -> i64 {
        from + i64::try_from(self.below(u64::try_from(until - from).unwrap())).unwrap()
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

/// What people and machines do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The daemon is killed, and started again so many milliseconds later.
    Kill(i64),
    Stop,
    Resume,
    Cordon(&'static str),
    Uncordon(&'static str),
    /// The kubelet falls silent.
    Die(&'static str),
    Revive(&'static str),
    /// A node that was not there before.
    Join(&'static str),
    /// The node is deleted, and made again at the old version with another UID.
    Replace(&'static str),
    /// A commit that changes a comment.
    Comment,
    /// A commit that asks for the old version, and one that asks for the new one again.
    Revert,
    Forward,
    /// A commit that lets two nodes be out.
    Widen,
    Freeze,
    Thaw,
}

pub const WORKERS: &[&str] = &["w1", "w2", "w3", "w4"];
pub const JOINS: &str = "w5";

const KINDS: &[&str] = &[
    "nodes",
    "nodes",
    "pods",
    "pods",
    "poddisruptionbudgets",
    "deployments",
    "replicasets",
    "statefulsets",
    "daemonsets",
    "jobs",
    "volumeattachments",
    "configmaps",
];

/// How long the faults and events go on, and how long the longest fault lasts.
#[derive(Clone, Copy)]
pub struct Extent {
    pub length: SignedDuration,
    pub longest: SignedDuration,
}

/// Times are since the beginning of the run.
pub struct Schedule {
    pub seed: u64,
    pub faults: Vec<(SignedDuration, SignedDuration, Drawn)>,
    pub acts: Vec<(SignedDuration, Act)>,
}

#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    verbs: &'static [&'static str],
    kinds: &'static [&'static str],
    every: u64,
    how: How,
}

impl Schedule {
    pub fn new(seed: u64, extent: Extent) -> Self {
        let mut dice = Dice::new(seed);
        let millis = |time: SignedDuration| i64::try_from(time.as_millis()).unwrap();
        let (length, longest) = (millis(extent.length), millis(extent.longest));
        let faults = (0..dice.within(4, 11)).map(|_| {
            let from = dice.within(0, length - longest);
            let until = from + dice.within(2_000, longest);
            (SignedDuration::from_millis(from), SignedDuration::from_millis(until), drawn(&mut dice))
        });
        let mut this = Self { seed, faults: faults.collect(), acts: Vec::new() };
        for _ in 0..dice.within(2, 7) {
            let at = dice.within(1_000, length - longest);
            let later = at + dice.within(3_000, longest);
            this.add(&mut dice, at, later);
        }
        this.acts.sort_by_key(|(at, _)| *at);
        this
    }

    fn add(&mut self, dice: &mut Dice, at: i64, later: i64) {
        let has = |acts: &[(SignedDuration, Act)], act: Act| acts.iter().any(|(_, other)| *other == act);
        let node = dice.of(WORKERS);
        let gap = dice.within(0, 8_000);
        let (first, second) = match dice.below(12) {
            0..=2 => (Act::Kill(gap), None),
            3 | 4 if !has(&self.acts, Act::Stop) => (Act::Stop, Some(Act::Resume)),
            5 if !has(&self.acts, Act::Cordon(node)) => (Act::Cordon(node), Some(Act::Uncordon(node))),
            6 if !has(&self.acts, Act::Die(node)) && !has(&self.acts, Act::Replace(node)) => {
                (Act::Die(node), Some(Act::Revive(node)))
            }
            7 if !has(&self.acts, Act::Die(node)) && !has(&self.acts, Act::Replace(node)) => {
                (Act::Replace(node), None)
            }
            8 if !has(&self.acts, Act::Join(JOINS)) => (Act::Join(JOINS), None),
            9 if !has(&self.acts, Act::Revert) => (Act::Revert, Some(Act::Forward)),
            10 if !has(&self.acts, Act::Freeze) => (Act::Freeze, Some(Act::Thaw)),
            11 if !has(&self.acts, Act::Widen) => (Act::Widen, None),
            _ => (Act::Comment, None),
        };
        self.acts.push((SignedDuration::from_millis(at), first));
        self.acts.extend(second.map(|act| (SignedDuration::from_millis(later), act)));
    }

    /// The faults of the line of a run that began at a time.
    pub fn faults_from(&self, began: Timestamp) -> impl Iterator<Item = Fault> {
        self.faults.iter().map(move |(from, until, drawn)| Fault {
            from: began + *from,
            until: began + *until,
            verbs: drawn.verbs,
            kinds: drawn.kinds,
            every: drawn.every,
            how: drawn.how,
        })
    }
}

fn drawn(dice: &mut Dice) -> Drawn {
    let place = usize::try_from(dice.below(KINDS.len() as u64)).unwrap();
    let kinds = &KINDS[place..=place];
    let every = dice.of(&[1, 1, 2, 3]);
    let writes: &[&[&str]] =
        &[&["patch"], &["create"], &["update"], &["delete"], &["patch", "create", "update", "delete"]];
    let writes = dice.of(writes);
    let reads: &[&str] = &["list", "watch"];
    let seconds = dice.within(1, 15);
    let code = dice.of(&[500, 410, 403, 503]);
    let retry_after = dice.of(&["", "1", "7", "40", "99999999999999", "soon", "-1"]);
    let drawn = |verbs, kinds, every, how| Drawn { verbs, kinds, every, how };
    match dice.below(16) {
        0 => drawn(&["watch"], kinds, 1, How::Ended),
        1 => drawn(&["watch"], &[], 1, How::Ended),
        2 => drawn(&["watch"], kinds, 1, How::Silent),
        3 => drawn(&["watch"], kinds, 1, How::Dead),
        4 | 5 => drawn(&["watch"], kinds, 1, How::Late(seconds * 2)),
        6 => drawn(&["watch"], &[], 1, How::Late(seconds)),
        7 => drawn(reads, kinds, every, How::Refused(code, "")),
        8 => drawn(&[], &[], every, How::Refused(429, retry_after)),
        9 => drawn(writes, &[], every, How::Refused(429, retry_after)),
        10 | 11 => drawn(writes, &[], every, How::Lost),
        12 => drawn(writes, &[], every, How::SlowThere(seconds * 2)),
        13 => drawn(writes, &[], every, How::SlowBack(seconds * 2)),
        14 => drawn(writes, &[], every, How::Refused(code, "")),
        _ => drawn(&[], &[], every.max(2), How::Cut),
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        let seconds = |time: &SignedDuration| time.as_secs_f64();
        for (from, until, drawn) in &self.faults {
            let Drawn { verbs, kinds, every, how } = drawn;
            let (from, until) = (seconds(from), seconds(until));
            writeln!(
                f,
                "  {from:7.1} s to {until:6.1} s  {how:?}, verbs {verbs:?}, kinds {kinds:?}, every {every}"
            )?;
        }
        for (at, act) in &self.acts {
            writeln!(f, "  {:7.1} s              {act:?}", seconds(at))?;
        }
        Ok(())
    }
}
