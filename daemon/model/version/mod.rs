//! Kubernetes versions as vendors write them: parsing, which of two comes first, skew. It does not know which versions
//! exist.

mod suffix;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use suffix::Scheme;

/// A version of Kubernetes: `v1.36.3`, `v1.37.0-rc.1`, `v1.36.3+k3s1`, `v1.33.4-eks-3025e55`.
///
/// Equality is that of the text. It is deliberately not `Ord`: whether a component has to move is another question than
/// which text sorts first. The methods [`Version::is_before`] and its kin answer the first, [`Version::sorted_against`]
/// the second.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    pub major: u16,
    pub minor: u16,
    pub patch: u16,
    pub maturity: Maturity,
    /// Everything after the numbers, as it was written: `-rc.1`, `-rc1+k3s1`, `-eks-3025e55`.
    rest: String,
}

/// How finished a version is: alpha before beta before rc before release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Maturity {
    Alpha(u16),
    Beta(u16),
    Rc(u16),
    Release,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    #[error("`{0}` is not a version: write it as v1.36.3")]
    Malformed(String),
    #[error("`{0}` has no patch number: write the exact version, as in {0}.3")]
    NoPatch(String),
}

impl Version {
    /// A release without a suffix.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch, maturity: Maturity::Release, rest: String::new() }
    }

    /// How a component that runs `self` stands to one that is asked to run `other`. `Equal` means that there is nothing
    /// to move between them, not that the texts are equal.
    ///
    /// Numbers and maturity decide. A vendor's suffix decides only where both versions have the same scheme and that
    /// scheme counts (`+k3s1` before `+k3s2`). The suffixes of EKS and `OpenShift` are hashes and have no order, and the
    /// nodes of one EKS cluster bear another one than its control plane.
    fn against(&self, other: &Self) -> Ordering {
        let numbers = |version: &Self| (version.major, version.minor, version.patch, version.maturity);
        numbers(self).cmp(&numbers(other)).then_with(|| {
            let (own, others) = (suffix::read(self.suffix()), suffix::read(other.suffix()));
            match (own, others) {
                (Some((scheme, own)), Some((of_other, others))) if scheme == of_other => own.cmp(&others),
                (Some(_) | None, Some(_) | None) => Ordering::Equal,
            }
        })
    }

    /// True if what runs `self` has to move up to run `other`.
    pub fn is_before(&self, other: &Self) -> bool {
        self.against(other) == Ordering::Less
    }

    /// True if what runs `self` would have to go down to run `other`.
    pub fn is_after(&self, other: &Self) -> bool {
        self.against(other) == Ordering::Greater
    }

    /// True if nothing has to move between the two: what runs `self` is as asked for by `other`.
    pub fn is_as(&self, other: &Self) -> bool {
        self.against(other) == Ordering::Equal
    }

    /// True if what runs `self` has arrived at `other`, or has gone further.
    pub fn reaches(&self, other: &Self) -> bool {
        !self.is_before(other)
    }

    /// A total order in which a version comes after all that are before it; the rest is sorted by text. For lists, for
    /// the oldest and for the newest, never for the question whether something has to move.
    pub fn sorted_against(&self, other: &Self) -> Ordering {
        let key = |version: &Self| (version.major, version.minor, version.patch, version.maturity);
        key(self)
            .cmp(&key(other))
            .then_with(|| suffix::read(self.suffix()).cmp(&suffix::read(other.suffix())))
            .then_with(|| self.rest.cmp(&other.rest))
    }

    /// The version that no other one of them is before.
    pub fn oldest<'a>(all: impl IntoIterator<Item = &'a Self>) -> Option<&'a Self> {
        all.into_iter().min_by(|a, b| a.sorted_against(b))
    }

    /// The version that is before no other one of them.
    pub fn newest<'a>(all: impl IntoIterator<Item = &'a Self>) -> Option<&'a Self> {
        all.into_iter().max_by(|a, b| a.sorted_against(b))
    }

    /// True if the vendor ships API server and kubelet as one program, so that the kubelet of a control plane node tells
    /// the version of its API server.
    pub fn is_one_program(&self) -> bool {
        suffix::read(self.suffix()).is_some_and(|(scheme, _)| scheme == Scheme::K3s)
    }

    /// What a vendor appended, with its sign: `+k3s1`, `-eks-3025e55`; empty for a release of Kubernetes itself.
    pub fn suffix(&self) -> &str {
        maturity(&self.rest).map_or(self.rest.as_str(), |(_, suffix)| suffix)
    }

    /// How many minors `self` is ahead of `other`; negative if it is behind.
    pub fn minors_ahead_of(&self, other: &Self) -> i32 {
        i32::from(self.major) * 1000 + i32::from(self.minor)
            - i32::from(other.major) * 1000
            - i32::from(other.minor)
    }

    pub fn same_minor(&self, other: &Self) -> bool {
        self.minors_ahead_of(other) == 0
    }

    /// `v1.36`, the name of a minor in package repositories.
    pub fn minor_name(&self) -> String {
        format!("v{}.{}", self.major, self.minor)
    }

    /// True if the version skew policy allows a kubelet of this version to be this far behind an API server: three
    /// minors, and two for a kubelet before v1.25. It does not check that the kubelet is not ahead.
    ///
    /// Source: <https://kubernetes.io/releases/version-skew-policy/#kubelet>.
    pub fn may_lag(&self, api_server: &Self) -> bool {
        let most = if self.minors_ahead_of(&Self::new(1, 25, 0)) < 0 { 2 } else { 3 };
        api_server.minors_ahead_of(self) <= most
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let malformed = || VersionError::Malformed(text.to_owned());
        let body = text.strip_prefix('v').unwrap_or(text);
        let (numbers, rest) = body.split_at(body.find(['-', '+']).unwrap_or(body.len()));
        let mut parts = numbers.split('.').map(number);
        let major = parts.next().flatten().ok_or_else(malformed)?;
        let minor = parts.next().flatten().ok_or_else(malformed)?;
        let patch = match parts.next() {
            Some(patch) => patch.ok_or_else(malformed)?,
            None if rest.is_empty() => return Err(VersionError::NoPatch(text.to_owned())),
            None => return Err(malformed()),
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.');
        if parts.next().is_some() || rest.len() == 1 || rest.len() > 64 || !rest.chars().all(legal) {
            return Err(malformed());
        }
        let maturity = maturity(rest).map_or(Maturity::Release, |(maturity, _)| maturity);
        Ok(Self { major, minor, patch, maturity, rest: rest.to_owned() })
    }
}

/// A number in digits without a leading zero, which prints as it was written; `None` for any other text.
fn number(text: &str) -> Option<u16> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (plain && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok()).flatten()
}

/// Splits `-rc.1+build` into its maturity and what follows; `None` if it is a vendor's own suffix. Vendors write `-rc1`
/// without the dot.
fn maturity(rest: &str) -> Option<(Maturity, &str)> {
    let body = rest.strip_prefix('-')?;
    let word = ["alpha", "beta", "rc"].into_iter().find(|word| body.starts_with(word))?;
    let tail = body.strip_prefix(word)?;
    let tail = tail.strip_prefix('.').unwrap_or(tail);
    let (ordinal, suffix) = tail.split_at(tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len()));
    let whole = suffix.is_empty() || suffix.starts_with(['-', '+', '.']);
    let ordinal = number(ordinal).filter(|_| whole)?;
    let maturity = match word {
        "alpha" => Maturity::Alpha(ordinal),
        "beta" => Maturity::Beta(ordinal),
        _ => Maturity::Rc(ordinal),
    };
    Some((maturity, suffix))
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "v{}.{}.{}{}", self.major, self.minor, self.patch, self.rest)
    }
}

impl serde::Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?.parse().map_err(serde::de::Error::custom)
    }
}
