//! Why the API server did not do or give what it was asked for: whether time can help, or only a person.

use std::fmt;

/// A failure in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// The daemon's user lacks a right. It goes on failing until a person gives the right.
    RightMissing(String),
    /// An outage, a race, a limit, or a rule of the cluster.
    Other(String),
}

impl CallFailure {
    /// The failure of a request that was answered with this code and message. Admission webhooks and `PodSecurity`
    /// answer with 403 too, so only the words of the API server's own authorizer count as a missing right.
    pub fn of(code: u16, message: &str) -> Self {
        match (code, right(message)) {
            (403, Some(right)) => Self::RightMissing(right),
            (401, _) => Self::RightMissing(format!(
                "the API server does not know the user of the kubeconfig: {message} (401)"
            )),
            (_, _) => Self::Other(format!("{message} ({code})")),
        }
    }

    pub fn words(&self) -> &str {
        match self {
            Self::RightMissing(words) | Self::Other(words) => words,
        }
    }

    pub fn is_missing_right(&self) -> bool {
        match self {
            Self::RightMissing(_) => true,
            Self::Other(_) => false,
        }
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// `user windlass may not list volumeattachments.storage.k8s.io`, from the authorizer's
/// `… is forbidden: User "windlass" cannot list resource "volumeattachments" in API group "storage.k8s.io" at the …`.
fn right(message: &str) -> Option<String> {
    let (_, told) = message.split_once("User \"")?;
    let (user, told) = told.split_once("\" cannot ")?;
    let (verb, told) = told.split_once(" resource \"")?;
    let (resource, told) = told.split_once('"')?;
    let group = told.split_once("API group \"").and_then(|(_, told)| Some(told.split_once('"')?.0));
    let group = group.filter(|group| !group.is_empty()).map_or_else(String::new, |group| format!(".{group}"));
    let place = told.split_once("in the namespace \"").and_then(|(_, told)| Some(told.split_once('"')?.0));
    let place = place.map_or_else(String::new, |space| format!(" in namespace {space}"));
    Some(format!("user {user} may not {verb} {resource}{group}{place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_named_and_other_refusals_are_not_taken_for_one() {
        let of = |code, message: &str| CallFailure::of(code, message);
        for (message, told) in [
            (
                "volumeattachments.storage.k8s.io is forbidden: User \"windlass\" cannot list resource \
                 \"volumeattachments\" in API group \"storage.k8s.io\" at the cluster scope",
                "user windlass may not list volumeattachments.storage.k8s.io",
            ),
            (
                "configmaps is forbidden: User \"system:serviceaccount:ops:windlass\" cannot watch resource \
                 \"configmaps\" in API group \"\" in the namespace \"kube-system\"",
                "user system:serviceaccount:ops:windlass may not watch configmaps in namespace kube-system",
            ),
        ] {
            assert_eq!(of(403, message), CallFailure::RightMissing(told.to_owned()));
        }
        for (code, message) in [
            (403, "pods \"w1-kubelet\" is forbidden: violates PodSecurity \"restricted:latest\""),
            (403, "admission webhook \"policy\" denied the request"),
            (500, "User \"x\" cannot list resource \"pods\""),
        ] {
            assert_eq!(of(code, message), CallFailure::Other(format!("{message} ({code})")));
        }
    }
}
