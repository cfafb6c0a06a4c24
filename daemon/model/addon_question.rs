//! The questions that show how an addon is, and whether it may be changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::addon::{Addon, AddonMove, AddonSource, AddonWhen, is_as};
use super::helm::{AddonHelm, AskedVersion, ReleaseAsked, Rendering};
use super::live::{Live, Probe};
use super::manifest::{ManifestsQuestion, ManifestsRead, ObjectRef};
use super::version::Version;

/// What is known of the steps of an addon when it is looked at.
#[derive(Clone, Debug)]
pub enum AddonSteps<'a> {
    /// No run is in progress: the steps that the present plan has.
    Planned(Vec<&'a AddonMove>),
    /// The step of the run in progress that has begun last, or that is its first.
    Begun(&'a AddonMove),
}

impl Addon {
    /// The question whether the image may be changed, while it is not the one that is asked for.
    pub fn right_probe(&self, live: &Live) -> Option<Probe> {
        let of = self.source.image()?;
        let runs = live.addon_workloads.get(&of.workload)?.as_ref()?.images.get(&of.container)?;
        let differs = !is_as(&runs.image, &of.asked(&self.version, &runs.image));
        differs.then(|| Probe::Right(of.workload.clone()))
    }

    /// The question that shows how the addon is. `before` are the objects that runs have applied for it, and `target` is where the
    /// cluster goes.
    pub fn probe(
        &self,
        live: &Live,
        before: Option<&Arc<BTreeSet<ObjectRef>>>,
        (target, steps): (&Version, &AddonSteps<'_>),
    ) -> Probe {
        match &self.source {
            AddonSource::Image(image) => Probe::Workload(image.workload.clone()),
            AddonSource::Manifests(of) => Probe::Manifests(Arc::new(ManifestsQuestion {
                addon: self.name.clone(),
                label: of.label.clone(),
                digest: of.digest.clone(),
                objects: Arc::clone(&of.objects),
                all: Arc::clone(&of.all),
                take_over: Arc::clone(&of.take_over),
                before: before.map(Arc::clone).unwrap_or_default(),
                known: live
                    .manifests_of(&self.name, &of.digest)
                    .map(|read| Arc::clone(&read.known))
                    .unwrap_or_default(),
                release: None,
            })),
            AddonSource::Helm(of) => {
                let read = live.addon_manifests.get(&self.name);
                let asked = ReleaseAsked {
                    release: of.release.clone(),
                    chart: of.chart.clone(),
                    versions: self.asked_versions(
                        of,
                        (self.meets(live, target), &passed(live, target)),
                        read.and_then(ManifestsRead::rendering).map(|rendering| &**rendering),
                        steps,
                    ),
                    files: Arc::clone(&of.files),
                    rendering: read.and_then(ManifestsRead::rendering).cloned(),
                };
                Probe::Manifests(Arc::new(ManifestsQuestion {
                    addon: self.name.clone(),
                    label: of.label.clone(),
                    digest: asked.versions.last().map(|asked| asked.digest.clone()).unwrap_or_default(),
                    objects: [].into(),
                    all: Arc::default(),
                    take_over: Arc::clone(&of.take_over),
                    before: Arc::default(),
                    known: read.map(|read| Arc::clone(&read.known)).unwrap_or_default(),
                    release: Some(Arc::new(asked)),
                }))
            }
        }
    }

    /// What the API servers run when it moves, as far as that is known without a plan.
    fn meets<'a>(&self, live: &'a Live, target: &'a Version) -> &'a Version {
        match self.when {
            AddonWhen::BeforeControlPlane => live.api.version.as_ref().unwrap_or(target),
            AddonWhen::AfterControlPlane | AddonWhen::AfterNodes => target,
        }
    }

    /// The versions of its chart that are looked at, each for what the API servers run when its step comes. In a run that is the
    /// version of one step.
    fn asked_versions(
        &self,
        of: &AddonHelm,
        (meets, passed): (&Version, &[String]),
        rendering: Option<&Rendering>,
        steps: &AddonSteps<'_>,
    ) -> Vec<AskedVersion> {
        let asked = |version: &String, kubernetes: &Version, others: Vec<String>| AskedVersion {
            version: version.clone(),
            digest: of.digests.get(version).cloned().unwrap_or_default(),
            kubernetes: kubernetes.to_string(),
            others,
            refused: None,
        };
        let planned: &[&AddonMove] = match steps {
            AddonSteps::Begun(mv) if mv.helm().is_some_and(|step| step.follows_from_chart(of, &mv.to)) => {
                return vec![asked(&mv.to, &mv.kubernetes, Vec::new())];
            }
            AddonSteps::Begun(_) => &[],
            AddonSteps::Planned(moves) => moves,
        };
        let versions = self.via.iter().map(|via| &via.version).chain([&self.version]);
        let step = |version: &String| planned.iter().find(|mv| mv.to == *version);
        // What its chart does not support stays so: it is not rendered again and again.
        let refused = |mv: &AddonMove| {
            let mut known = rendering.into_iter().flat_map(Rendering::asked_versions);
            let of_version =
                known.find(|known| known.version == mv.to).and_then(|known| known.refused.as_ref());
            of_version.is_some_and(|(kubernetes, _)| *kubernetes == mv.kubernetes.to_string())
        };
        let known = |version: &String| match step(version) {
            Some(mv) if refused(mv) => asked(version, &mv.kubernetes, passed.to_vec()),
            Some(mv) => asked(version, &mv.kubernetes, Vec::new()),
            None => asked(version, meets, passed.to_vec()),
        };
        versions.map(known).collect()
    }
}

/// The versions of Kubernetes from the one that runs to the target, the newest first.
fn passed(live: &Live, target: &Version) -> Vec<String> {
    // The API server may not have been asked yet.
    let kubelets = || Version::oldest(live.nodes.values().filter_map(|node| node.kubelet.as_ref()));
    let Some(runs) = live.api.version.as_ref().or_else(kubelets) else { return Vec::new() };
    let between = (runs.minor + 1..target.minor).rev().map(|minor| Version::new(target.major, minor, 0));
    [target.clone()]
        .into_iter()
        .chain(between)
        .chain([runs.clone()])
        .map(|version| version.to_string())
        .collect()
}

impl Probe {
    /// True if what was rendered of a chart does not answer the question any more: another version, or another Kubernetes.
    pub fn is_outgrown(&self, live: &Live) -> bool {
        let Self::Manifests(question) = self else { return false };
        let rendering = live.addon_manifests.get(&question.addon).and_then(ManifestsRead::rendering);
        rendering.zip(question.release.as_ref()).is_some_and(|(rendering, asked)| !rendering.answers(asked))
    }
}
