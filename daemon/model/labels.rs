//! The labels of one object, stored compactly: thousands of objects have the same few.

use super::live::Id;

/// Labels, ordered by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels(Box<[(Id, Id)]>);

impl Labels {
    pub fn get(&self, key: &str) -> Option<&Id> {
        let at = self.0.binary_search_by(|(known, _)| (**known).cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }
}

/// The keys must be distinct.
impl FromIterator<(Id, Id)> for Labels {
    fn from_iter<I: IntoIterator<Item = (Id, Id)>>(labels: I) -> Self {
        let mut labels: Box<[(Id, Id)]> = labels.into_iter().collect();
        labels.sort_unstable();
        Self(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_found_by_its_whole_key() {
        let pairs = [("pool", "a"), ("app", "web"), ("app.kubernetes.io/name", "web")];
        let labels: Labels = pairs.map(|(key, value)| (key.into(), value.into())).into_iter().collect();
        for (key, value) in
            [("pool", Some("a")), ("app", Some("web")), ("ap", None), ("zone", None), ("", None)]
        {
            assert_eq!(labels.get(key).map(|value| &**value), value, "{key}");
            assert_eq!(labels.contains_key(key), value.is_some(), "{key}");
        }
        assert!(!Labels::default().contains_key("pool"));
    }
}
