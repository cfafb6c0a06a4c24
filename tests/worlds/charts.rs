//! Releases of charts: each version of a chart is a Deployment with its image and a `ConfigMap` with its name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass::live::{Folder, ObjectAnswer, ObjectsAnswer, ProbeAnswer, ReleaseAnswer, Seen, Tried};
use windlass::model::helm::{
    AddonHelm, AskedVersion, Chart, ChartFiles, LaterRendering, ReleaseAsked, ReleaseMark, ReleaseRef,
    ReleaseRevision, Rendering, noted,
};
use windlass::model::live::{Live, Probe};
use windlass::model::manifest::{
    AllManifests, FoundObject, Manifest, ManifestsQuestion, ObjectAddress, ObjectRef,
};

fn digest(addon: &str, version: &str) -> String {
    format!("sha256:{addon}-{version}")
}

/// A chart with these versions in a repository.
pub fn asked<'v>(addon: &str, versions: impl Iterator<Item = &'v str>) -> AddonHelm {
    AddonHelm {
        release: release(addon),
        chart: chart(addon),
        take_over: [].into(),
        values: None,
        files: Arc::default(),
        label: format!("prod.{addon}"),
        digests: versions.map(|version| (version.to_owned(), digest(addon, version))).collect(),
    }
}

fn release(addon: &str) -> ReleaseRef {
    ReleaseRef { namespace: "kube-system".to_owned(), name: addon.to_owned() }
}

fn chart(addon: &str) -> Chart {
    Chart::Repository { url: "https://charts.example.com".to_owned(), name: addon.to_owned() }
}

/// A version of a chart that was rendered.
#[derive(Clone)]
struct Version {
    name: String,
    kubernetes: String,
    image: String,
}

/// Versions with their images, `1.18.3=cilium:v1.18.3`: first the installed one, and then those that were rendered, each with the
/// Kubernetes for which: `1.19.5@v1.35.6=cilium:v1.19.5`.
pub fn put(live: &mut Live, addon: &str, words: &str) {
    let version = |word: &str| {
        let (version, image) = word.split_once('=').unwrap();
        let (version, kubernetes) = version.split_once('@').unwrap_or((version, ""));
        Version { name: version.to_owned(), kubernetes: kubernetes.to_owned(), image: image.to_owned() }
    };
    let versions: Vec<Version> = words.split_whitespace().map(version).collect();
    look(live, addon, &versions);
}

/// Gives the release this content, which was rendered.
pub fn give(live: &mut Live, addon: &str, content: &str) {
    let rendering = Arc::clone(live.addon_manifests[addon].rendering().unwrap());
    let later = rendering.later.iter().map(|later| (&later.asked, &later.objects));
    let all = [(&rendering.asked, &rendering.objects)].into_iter().chain(later);
    let version = |(asked, objects): (&AskedVersion, &Arc<[Manifest]>)| {
        let image = "/spec/template/spec/containers/0/image";
        let image = objects[0].body.pointer(image).unwrap().as_str().unwrap().to_owned();
        Version { name: asked.version.clone(), kubernetes: asked.kubernetes.clone(), image }
    };
    let versions: Vec<Version> = all.skip_while(|(asked, _)| asked.digest != content).map(version).collect();
    look(live, addon, &versions);
    live.addon_manifests.get_mut(addon).unwrap().complete_since = Some(Timestamp::UNIX_EPOCH);
}

fn look(live: &mut Live, addon: &str, versions: &[Version]) {
    let (installed, ahead) = versions.split_first().unwrap();
    let rendering = Arc::new(rendering(addon, installed, ahead));
    let asked = ReleaseAsked {
        release: release(addon),
        chart: chart(addon),
        versions: vec![rendering.asked.clone()],
        files: Arc::new(ChartFiles::default()),
        rendering: Some(Arc::clone(&rendering)),
    };
    let mut all = AllManifests::default();
    rendering.objects.iter().for_each(|manifest| all.add(manifest));
    let question = Arc::new(ManifestsQuestion {
        addon: addon.to_owned(),
        label: format!("prod.{addon}"),
        digest: rendering.asked.digest.clone(),
        objects: Arc::clone(&rendering.objects),
        all: Arc::new(all),
        take_over: [].into(),
        before: Arc::new(rendering.last.keys().cloned().collect()),
        known: Arc::default(),
        release: Some(Arc::new(asked)),
    });
    let there = |object: &ObjectRef| rendering.last.get(object).cloned();
    let read = |manifest: &Manifest| ObjectAnswer::Read {
        address: Some(address(&manifest.object)),
        live: there(&manifest.object),
        tried: Tried::Applied { object: manifest.body.clone(), takes_over: false },
    };
    let gone =
        question.gone().map(|object| (object.clone(), Ok(Some((address(object), there(object).unwrap())))));
    let answer = ReleaseAnswer {
        revisions: rendering.revisions.clone(),
        rendering: Some(Arc::clone(&rendering)),
        objection: None,
        has_namespace: true,
        foreign: Vec::new(),
        question: Arc::clone(&question),
    };
    let answer = ObjectsAnswer {
        objects: rendering.objects.iter().map(read).collect(),
        gone: gone.collect(),
        release: Some(answer),
    };
    let mut folder = Folder::default();
    folder.live = std::mem::take(live);
    let (probe, answer) = (Probe::Manifests(question), ProbeAnswer::Manifests(answer));
    folder.fold(Seen::Probed { probe, answer, asked: Timestamp::UNIX_EPOCH }, Timestamp::UNIX_EPOCH);
    *live = folder.live;
}

fn rendering(addon: &str, installed: &Version, ahead: &[Version]) -> Rendering {
    let as_asked = ahead.is_empty();
    let (first, later) = ahead.split_first().unwrap_or((installed, &[]));
    let later = later.iter().map(|version| LaterRendering {
        asked: asked_version(addon, version),
        archive: Some(archive(addon, version)),
        objects: objects(addon, version),
        first: BTreeSet::new(),
        again: BTreeMap::new(),
    });
    let last = objects(addon, installed).iter().map(|of| (of.object.clone(), of.body.clone())).collect();
    Rendering {
        program: "v3.22.0".to_owned(),
        revisions: vec![revision(addon, &installed.name)],
        asked: asked_version(addon, first),
        as_asked,
        archive: (!as_asked).then(|| archive(addon, first)),
        objects: objects(addon, first),
        first: BTreeSet::new(),
        last,
        again: BTreeMap::new(),
        installed: installed.name.clone(),
        later: later.collect(),
    }
}

fn asked_version(addon: &str, of: &Version) -> AskedVersion {
    AskedVersion {
        version: of.name.clone(),
        digest: digest(addon, &of.name),
        kubernetes: of.kubernetes.clone(),
        others: Vec::new(),
        refused: None,
    }
}

fn archive(addon: &str, of: &Version) -> String {
    format!("sha256:archive-of-{addon}-{}", of.name)
}

fn revision(addon: &str, version: &str) -> ReleaseRevision {
    ReleaseRevision {
        number: 7,
        status: "deployed".to_owned(),
        mark: Some(ReleaseMark {
            addon: format!("prod.{addon}"),
            content: noted(&digest(addon, version)).to_owned(),
            attempt: "run.1".to_owned(),
            timeout_seconds: 600,
        }),
        record: format!("sh.helm.release.v1.{addon}.v7"),
        found: FoundObject { uid: "uid-7".to_owned(), resource_version: "7".to_owned() },
        chart: Some(format!("{addon}-{version}")),
        description: Some("Upgrade complete".to_owned()),
    }
}

fn objects(addon: &str, of: &Version) -> Arc<[Manifest]> {
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": addon, "namespace": "kube-system", "uid": "uid-workload", "resourceVersion": "1", "generation": 1},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": addon, "image": of.image}]}}},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("{addon}-{}", of.name), "namespace": "kube-system"}});
    [deployment, map].map(manifest).into()
}

fn manifest(body: Value) -> Manifest {
    let text = |path: &str| body.pointer(path).unwrap().as_str().unwrap().to_owned();
    let object = ObjectRef {
        api_version: text("/apiVersion"),
        kind: text("/kind"),
        namespace: Some(text("/metadata/namespace")),
        name: text("/metadata/name"),
    };
    Manifest { object, place: "charts".to_owned(), body, digest: String::new() }
}

fn address(object: &ObjectRef) -> ObjectAddress {
    let plural = format!("{}s", object.kind.to_lowercase());
    ObjectAddress { api_version: object.api_version.clone(), plural }
}
