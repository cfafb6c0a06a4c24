//! All upgrade Jobs of a cluster, with an index by node. Finished Jobs stay for a week, so there may be one for every
//! node, and a pass must not walk over all of them for each node that it looks at.

use std::collections::{BTreeMap, BTreeSet};

use super::live::Job;

/// The upgrade Jobs of a cluster, by name.
#[derive(Clone, Debug, Default)]
pub struct Jobs {
    all: BTreeMap<String, Job>,
    /// The names of the Jobs of each node.
    of_node: BTreeMap<String, BTreeSet<String>>,
    /// The names of the Jobs of each run.
    of_run: BTreeMap<String, BTreeSet<String>>,
}

impl Jobs {
    /// Puts a Job in, in place of one of the same name.
    pub fn insert(&mut self, name: String, job: Job) {
        self.remove(&name);
        self.of_node.entry(job.node.clone()).or_default().insert(name.clone());
        self.of_run.entry(job.run.clone()).or_default().insert(name.clone());
        self.all.insert(name, job);
    }

    /// Takes a Job out; `None` if there is none of this name.
    pub fn remove(&mut self, name: &str) -> Option<Job> {
        let job = self.all.remove(name)?;
        unindex(&mut self.of_node, &job.node, name);
        unindex(&mut self.of_run, &job.run, name);
        Some(job)
    }

    pub fn get(&self, name: &str) -> Option<&Job> {
        self.all.get(name)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.all.contains_key(name)
    }

    /// All Jobs with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Job)> {
        self.all.iter()
    }

    /// The Jobs of all runs but one, with their names.
    pub fn of_other_runs(&self, run: &str) -> impl Iterator<Item = (&String, &Job)> {
        let others = self.of_run.iter().filter(move |(of, _)| *of != run);
        others.flat_map(|(_, names)| names).filter_map(|name| self.all.get_key_value(name))
    }

    /// The Jobs of one node with their names.
    pub fn on(&self, node: &str) -> impl Iterator<Item = (&String, &Job)> {
        self.of_node.get(node).into_iter().flatten().filter_map(|name| self.all.get_key_value(name))
    }
}

fn unindex(index: &mut BTreeMap<String, BTreeSet<String>>, key: &str, name: &str) {
    let Some(names) = index.get_mut(key) else { return };
    names.remove(name);
    if names.is_empty() {
        index.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::live::JobState;
    use super::*;

    fn job(node: &str) -> Job {
        Job {
            uid: format!("uid-{node}"),
            resource_version: "1".to_owned(),
            node: node.to_owned(),
            run: "c0ffee-1".to_owned(),
            component: "kubelet".to_owned(),
            target: "v1.36.3".to_owned(),
            state: JobState::Running,
            suspended: false,
            begun: true,
            made_anew: false,
            created: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_jobs_of_a_node_are_those_that_name_it() {
        let mut jobs = Jobs::default();
        for (name, node) in [("a", "w1"), ("b", "w2"), ("c", "w1"), ("b", "w1")] {
            jobs.insert(name.to_owned(), job(node));
        }
        let on = |jobs: &Jobs, node: &str| jobs.on(node).map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!((on(&jobs, "w1"), on(&jobs, "w2")), (vec!["a".into(), "b".into(), "c".into()], vec![]));
        assert_eq!(jobs.remove("a").map(|job| job.node), Some("w1".to_owned()));
        assert_eq!((jobs.remove("a"), jobs.contains("b"), jobs.iter().count()), (None, true, 2));
        assert_eq!(on(&jobs, "w1"), ["b", "c"]);
        assert_eq!(jobs.of_other_runs("c0ffee-2").count(), 2);
        assert_eq!(jobs.of_other_runs("c0ffee-1").count(), 0);
    }
}
