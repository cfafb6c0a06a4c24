//! Kubernetes versions: parsing, order, skew.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A version of Kubernetes: `v1.36.3`, `v1.37.0-rc.1`, `v1.36.3+k3s1`, `v1.33.4-eks-abc`.
///
/// Ordered by number, then by maturity, then by the vendor's suffix: skew is arithmetic, and `k3s1` to `k3s2` is a
/// move.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    pub major: u16,
    pub minor: u16,
    pub patch: u16,
    pub maturity: Maturity,
    /// What a vendor appended, with its sign: `+k3s1`, `-eks-abc`; empty for a release of Kubernetes itself.
    pub suffix: String,
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
        Self { major, minor, patch, maturity: Maturity::Release, suffix: String::new() }
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
        let (maturity, suffix) = maturity(rest).unwrap_or((Maturity::Release, rest));
        Ok(Self { major, minor, patch, maturity, suffix: suffix.to_owned() })
    }
}

/// A number in digits without a leading zero, which prints as it was written; `None` for any other text.
fn number(text: &str) -> Option<u16> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (plain && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok()).flatten()
}

/// Splits `-rc.1+build` into its maturity and what follows; `None` if it is a vendor's own suffix.
fn maturity(rest: &str) -> Option<(Maturity, &str)> {
    let body = rest.strip_prefix('-')?;
    let (word, tail) = body.split_once('.')?;
    let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
    let (ordinal, suffix) = tail.split_at(end);
    let ordinal = number(ordinal)?;
    let maturity = match word {
        "alpha" => Maturity::Alpha(ordinal),
        "beta" => Maturity::Beta(ordinal),
        "rc" => Maturity::Rc(ordinal),
        _ => return None,
    };
    Some((maturity, suffix))
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "v{}.{}.{}", self.major, self.minor, self.patch)?;
        match self.maturity {
            Maturity::Alpha(n) => write!(out, "-alpha.{n}")?,
            Maturity::Beta(n) => write!(out, "-beta.{n}")?,
            Maturity::Rc(n) => write!(out, "-rc.{n}")?,
            Maturity::Release => {}
        }
        out.write_str(&self.suffix)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.major, self.minor, self.patch, self.maturity)
            .cmp(&(other.major, other.minor, other.patch, other.maturity))
            .then_with(|| natural(&self.suffix, &other.suffix))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares runs of digits as numbers and other text as text: `+k3s9` is before `+k3s10`.
fn natural(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left, right);
    while !left.is_empty() && !right.is_empty() {
        let (a, b) = (take_run(&mut left), take_run(&mut right));
        let order = match (a.parse::<u64>(), b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => a.cmp(b),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    left.len().cmp(&right.len())
}

fn take_run<'a>(text: &mut &'a str) -> &'a str {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    run
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

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_read_back_as_they_were_written() {
        for text in [
            "v1.36.3",
            "v1.37.0-rc.1",
            "v1.37.0-alpha.0",
            "v1.36.3+k3s1",
            "v1.33.4-eks-abc",
            "v1.30.0-gke.100",
        ] {
            assert_eq!(v(text).to_string(), text);
        }
        assert_eq!(v("1.29.4").to_string(), "v1.29.4");
    }

    #[test]
    fn what_is_not_a_version_is_refused() {
        for text in [
            "",
            "v",
            "1",
            "v1.x.3",
            "1.30.",
            "1.30.1.2",
            "v1.30.1-",
            "v1.030.1",
            "stable-1.29",
            "v1.30.1 ",
            "v1.30.1/..",
            "v99999.1.1",
        ] {
            assert!(matches!(text.parse::<Version>(), Err(VersionError::Malformed(_))), "{text}");
        }
        assert_eq!("1.30".parse::<Version>(), Err(VersionError::NoPatch("1.30".into())));
    }

    #[test]
    fn order_is_number_then_maturity_then_suffix() {
        let sorted = [
            "v1.9.9",
            "v1.30.0-alpha.2",
            "v1.30.0-beta.0",
            "v1.30.0-rc.1",
            "v1.30.0-rc.10",
            "v1.30.0",
            "v1.30.0+k3s1",
            "v1.30.0+k3s2",
            "v1.30.0+k3s10",
            "v1.30.1",
        ];
        for pair in sorted.windows(2) {
            assert!(v(pair[0]) < v(pair[1]), "{pair:?}");
        }
        assert_eq!(v("v1.36.0").minors_ahead_of(&v("v1.33.9")), 3);
    }
    #[test]
    fn a_kubelet_may_lag_by_three_minors_and_an_old_one_by_two() {
        for (kubelet, api_server, may) in [
            ("v1.33.0", "v1.36.3", true),
            ("v1.32.13", "v1.36.0", false),
            ("v1.25.0-rc.1", "v1.28.0", true),
            ("v1.24.17", "v1.26.0", true),
            ("v1.24.17", "v1.27.0", false),
            ("v1.36.3", "v1.35.0", true),
        ] {
            assert_eq!(v(kubelet).may_lag(&v(api_server)), may, "{kubelet} under {api_server}");
        }
    }
}
