//! Jobs and scripts as a host gets them: legal for the API server, clean for a shell, and the same for every node of a kind.

mod host;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use jiff::SignedDuration;
use serde_json::Value;
use windlass::model::desired::{
    Cluster, ControlPlane, ControlPlaneDrain, Drain, DrainWhen, ForeignCordon, Kubeadm, Limit, Mode,
    PackageSource, Pool, Provider, Selector,
};
use windlass::model::installed::SkippedPhase;
use windlass::model::label_value::label_value;
use windlass::model::plan::{Component, NodeMove, NodeRef, Scope, Stage, StageKind, Step, Work};
use windlass::provider::{
    HostJobs, Mover, Order, REFUSED, Role, capabilities, job_name, nothing_was_changed, scripts,
};

const ROLES: [Role; 4] =
    [Role::FirstControlPlane, Role::OtherControlPlane, Role::ControlPlaneKubelet, Role::WorkerKubelet];

fn kubeadm(from: PackageSource, ignore: &[&str]) -> Kubeadm {
    let ignore_preflight_errors = ignore.iter().map(|name| (*name).to_owned()).collect();
    Kubeadm {
        from,
        image: Some("docker.io/library/busybox:test".into()),
        ignore_preflight_errors,
        skip_phases: Vec::new(),
    }
}

fn folder() -> PackageSource {
    PackageSource::Folder("/opt/kubernetes/{version}".into())
}

fn step(node: &str, component: Component, to: &str) -> Step {
    let node_move = NodeMove {
        node: NodeRef { name: node.into(), uid: format!("uid-of-{node}") },
        zone: String::new(),
        provider: Provider::Kubeadm,
        from: "v1.35.4".parse().unwrap(),
        to: to.parse().unwrap(),
        drain: true,
        canary: false,
    };
    let work = match component {
        Component::ControlPlane => Work::ControlPlane(node_move),
        Component::Kubelet => Work::Kubelet(node_move),
    };
    Step::new(Scope::Pool("general".into()), work, Vec::new(), Vec::new())
}

fn order<'a>(step: &'a Step, role: Role, kubeadm: &'a Kubeadm, attempt: u32) -> Order<'a> {
    let node_move = step.node_move().unwrap();
    Order {
        cluster: "prod-eu",
        run: "0123456789ab-1",
        step: &step.id,
        node_move,
        role,
        kubeadm,
        attempt,
        anew: false,
    }
}

fn jobs() -> &'static HostJobs {
    match capabilities(Provider::Kubeadm).mover(Component::Kubelet) {
        Mover::OurJobs(jobs) => jobs,
        Mover::SomebodyElse => panic!("kubeadm nodes are moved by Jobs of ours"),
    }
}

/// Scripts in which every part occurs at least once, with a name for each one's file.
fn some_scripts() -> Vec<(String, String)> {
    let strict = kubeadm(folder(), &[]);
    let ignoring = kubeadm(PackageSource::Packages, &["SystemVerification", "Mem"]);
    let mut cases = Vec::new();
    for role in ROLES {
        cases.push((role, &strict, "v1.36.3"));
        cases.push((role, &ignoring, "v1.36.3"));
    }
    cases.push((Role::FirstControlPlane, &strict, "v1.34.4"));
    cases.push((Role::FirstControlPlane, &ignoring, "v1.37.0-rc.1"));
    let named = |(role, kubeadm, to): (Role, &Kubeadm, &str)| {
        let step = step("w1", role.component(), to);
        let source = if kubeadm.from == PackageSource::Packages { "packages" } else { "folder" };
        (format!("{role:?}-{source}-{to}.sh"), jobs().script(&order(&step, role, kubeadm, 1)))
    };
    cases.into_iter().map(named).collect()
}

fn folder_for(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Whether a program of the developer's machine is there; a check that needs it is skipped where it is not.
fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

#[test]
fn every_script_is_clean_for_shellcheck_and_parses() {
    let folder = folder_for("scripts");
    let mut files =
        vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/daemon/provider/host/launch.sh"))];
    for (name, text) in some_scripts() {
        std::fs::write(folder.join(&name), text).unwrap();
        files.push(folder.join(&name));
    }
    for file in &files {
        let output = Command::new("sh").arg("-n").arg(file).output().unwrap();
        assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    }
    if has("shellcheck") {
        let output = Command::new("shellcheck")
            .args(["--shell=sh", "--severity=style"])
            .args(&files)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn the_real_scripts_are_clean_for_shellcheck() {
    let mut files = Vec::new();
    for folder in ["tests/real", "tests/real/node"] {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
        files.extend(
            std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_file()),
        );
    }
    files.sort();
    if has("shellcheck") {
        let output = Command::new("shellcheck").arg("--external-sources").args(&files).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// Workers have no such phase, and a kubelet is replaced without kubeadm.
#[test]
fn phases_are_skipped_on_control_plane_nodes_alone() {
    let skipping = Kubeadm {
        skip_phases: vec![SkippedPhase::CoreDns, SkippedPhase::KubeProxy],
        ..kubeadm(folder(), &["Mem"])
    };
    let line = |role: Role, kubeadm: &Kubeadm| {
        let step = step("cp1", role.component(), "v1.36.3");
        let script = jobs().script(&order(&step, role, kubeadm, 1));
        script.lines().find(|line| line.starts_with("upgrade()")).unwrap_or_default().to_owned()
    };
    let flags = "--skip-phases='addon/coredns,addon/kube-proxy' --ignore-preflight-errors='Mem'";
    for (role, command) in [
        (Role::FirstControlPlane, format!("upgrade() {{ run kubeadm upgrade apply 'v1.36.3' -y {flags}; }}")),
        (Role::OtherControlPlane, format!("upgrade() {{ run kubeadm upgrade node {flags}; }}")),
        (
            Role::WorkerKubelet,
            "upgrade() { run kubeadm upgrade node --ignore-preflight-errors='Mem'; }".to_owned(),
        ),
        (Role::ControlPlaneKubelet, String::new()),
    ] {
        assert_eq!(line(role, &skipping), command, "{role:?}");
        assert!(!line(role, &kubeadm(folder(), &[])).contains("skip"), "{role:?}");
    }
}

#[test]
fn kubeadm_can_skip_the_phases_of_its_addons_since_1_32() {
    let can = capabilities(Provider::Kubeadm).can_skip_phases;
    for (version, known) in [
        ("v1.30.14", false),
        ("v1.31.14", false),
        ("v1.32.0", true),
        ("v1.36.3", true),
        ("v1.37.0-rc.1", true),
    ] {
        assert_eq!(can(&version.parse().unwrap()), known, "{version}");
    }
}

/// What kubeadm itself says, where the binaries of the real clusters lie in the user's cache.
#[test]
fn the_real_kubeadm_has_the_phases_that_a_file_may_skip() {
    let Some(home) = std::env::home_dir() else { return };
    let Ok(folders) = std::fs::read_dir(home.join(".cache/windlass/kubernetes")) else {
        return;
    };
    for kubeadm in folders.map(|folder| folder.unwrap().path().join("bin/kubeadm")) {
        for command in ["apply", "node"] {
            let Ok(output) = Command::new(&kubeadm).args(["upgrade", command, "--help"]).output() else {
                continue;
            };
            let help = String::from_utf8_lossy(&output.stdout).into_owned();
            for word in ["--skip-phases ", "\naddon ", "\n  /coredns ", "\n  /kube-proxy "] {
                assert!(help.contains(word), "{} upgrade {command}: {help}", kubeadm.display());
            }
        }
    }
}

#[test]
fn a_script_holds_nothing_of_its_node_run_or_attempt() {
    let kubeadm = kubeadm(folder(), &[]);
    for role in ROLES {
        let (one, other) = (step("w1", role.component(), "v1.36.3"), step("w2", role.component(), "v1.36.3"));
        let (first, second) =
            (order(&one, role, &kubeadm, 1), Order { run: "ffff-2", ..order(&other, role, &kubeadm, 2) });
        assert_eq!(jobs().script(&first), jobs().script(&second));
        assert_ne!(job_name(&first), job_name(&second));
    }
}

#[test]
fn every_value_is_one_word_of_the_shell() {
    let evil = kubeadm(PackageSource::Folder("/opt/'; id; '$(id)`id`/{version}".into()), &["a'b", "$(id)"]);
    let step = step("w1", Component::ControlPlane, "v1.36.3");
    let text = jobs().script(&order(&step, Role::FirstControlPlane, &evil, 1));
    let head: String = text.split_inclusive('\n').take_while(|line| !line.starts_with("# ----")).collect();
    let probe = format!(
        "{head}run() {{ for each in \"$@\"; do echo \"<$each>\"; done; }}\necho \"<$folder>\"\nupgrade\n"
    );
    let output = Command::new("sh").arg("-c").arg(probe).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        said,
        "</opt/'; id; '$(id)`id`/v1.36.3>\n<kubeadm>\n<upgrade>\n<apply>\n<v1.36.3>\n<-y>\n<--ignore-preflight-errors=a'b,$(id)>\n"
    );
}

#[test]
fn a_job_is_what_the_design_promises() {
    let kubeadm = kubeadm(folder(), &["SystemVerification"]);
    let folder = folder_for("jobs");
    for role in ROLES {
        let step = step("w1", role.component(), "v1.36.3");
        let job = jobs().job(&order(&step, role, &kubeadm, 1));
        std::fs::write(folder.join(format!("{role:?}.json")), serde_json::to_vec_pretty(&job).unwrap())
            .unwrap();
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]);
        assert_eq!(job["metadata"]["labels"]["windlass.dev/target-version"], "v1.36.3");
        assert_eq!(job["metadata"]["labels"]["windlass.dev/component"], role.component().as_str());
        assert_eq!(job["metadata"]["annotations"].get("windlass.dev/node"), None);
        assert_eq!(pod["nodeName"], "w1");
        assert_eq!(pod["automountServiceAccountToken"], false);
        // A week: while it is there, a node that it left half upgraded is not given back.
        assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 7 * 24 * 3600);
        assert_eq!(job["metadata"]["annotations"]["windlass.dev/step"], step.id.to_string());
        assert_eq!(job["spec"]["backoffLimit"], 0);
        let unit = format!("windlass-{}-v1.36.3", role.component().as_str());
        assert_eq!(pod["containers"][0]["args"][1], unit);
    }
}

#[test]
fn what_each_provider_can_do() {
    let ours = capabilities(Provider::Kubeadm);
    assert!(ours.moves_control_plane());
    let external = capabilities(Provider::External);
    assert!(!external.moves_control_plane());
    for component in [Component::ControlPlane, Component::Kubelet] {
        assert!(matches!(external.mover(component), Mover::SomebodyElse));
        assert!(matches!(ours.mover(component), Mover::OurJobs(_)));
        assert!(external.patience.of(component) > ours.patience.of(component));
        // A Job watches for as long as its unit on the host may run.
        let step = step("cp1", component, "v1.36.3");
        let kubeadm = kubeadm(folder(), &[]);
        let job = jobs().job(&order(&step, Role::of(component, true, false), &kubeadm, 1));
        let deadline = job["spec"]["activeDeadlineSeconds"].as_i64().unwrap();
        assert!(job.to_string().contains(&format!("RuntimeMaxSec={deadline} ")), "{job:#}");
    }
}

/// What a host's own shell makes of an ending: only a script that refused says that nothing was changed.
#[test]
fn only_a_refusal_says_that_nothing_was_changed() {
    let kubeadm = kubeadm(folder(), &[]);
    let step = step("w1", Component::Kubelet, "v1.36.3");
    let text = jobs().script(&order(&step, Role::WorkerKubelet, &kubeadm, 1));
    let functions = text.split("\nneed_host\n").next().unwrap();
    for (ends, code, unchanged) in [
        ("refuse 'the host is wrong'", REFUSED, true),
        ("fail 'the package is broken'", 1, false),
        // A command that fails by itself, with a code that means something else to it.
        ("sh -c 'exit 10'", 1, false),
        ("exit 0", 0, false),
    ] {
        let output = Command::new("sh").arg("-c").arg(format!("{functions}\n{ends}\n")).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{ends}: {output:?}");
        assert_eq!(nothing_was_changed(output.status.code()), unchanged, "{ends}");
    }
    assert!(!nothing_was_changed(None));
}

#[test]
fn a_job_that_is_made_anew_says_so_and_its_pod_does_not() {
    let kubeadm = kubeadm(folder(), &[]);
    let step = step("w1", Component::Kubelet, "v1.36.3");
    let order = order(&step, Role::WorkerKubelet, &kubeadm, 1);
    let (first, anew) = (jobs().job(&order), jobs().job(&Order { anew: true, ..order }));
    let mark =
        |job: &Value, at: &str| job.pointer(at).and_then(|all| all.get("windlass.dev/made-anew")).cloned();
    assert_eq!(mark(&anew, "/metadata/annotations"), Some(Value::from("true")));
    assert_eq!(mark(&anew, "/spec/template/metadata/annotations"), None);
    assert_eq!(mark(&first, "/metadata/annotations"), None);
    assert_eq!(anew["metadata"]["name"], first["metadata"]["name"], "it takes the other's place");
}

#[test]
fn names_and_labels_are_legal_for_any_node_and_version() {
    let kubeadm = kubeadm(folder(), &[]);
    for node in ["w1", "10-0-0-1.eu-central-1.compute.internal", &"a.very-long-name".repeat(15), "x--"] {
        for to in ["v1.36.3", "v1.37.0-rc.1", "v1.36.3+rke2r1.with-a-long.suffix"] {
            for (attempt, role) in
                [1, u32::MAX].into_iter().flat_map(|attempt| ROLES.map(|role| (attempt, role)))
            {
                let step = step(node, role.component(), to);
                let name = job_name(&order(&step, role, &kubeadm, attempt));
                let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                assert!(name.len() <= 63 && name.chars().all(legal) && !name.ends_with('-'), "{name}");
                let job = jobs().job(&order(&step, role, &kubeadm, attempt));
                for (key, value) in job["metadata"]["labels"].as_object().unwrap() {
                    assert_label(value);
                    let full = job["metadata"]["annotations"].get(key).unwrap_or(value);
                    if key == "windlass.dev/node" {
                        assert_eq!(full, node);
                    }
                    if key == "windlass.dev/target-version" {
                        assert_eq!(full, to);
                    }
                }
            }
        }
    }
    assert_eq!(label_value("v1.36.3+k3s1").label, "v1.36.3-k3s1");
}

fn assert_label(value: &Value) {
    let text = value.as_str().unwrap();
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    assert!(
        text.len() <= 63
            && text.chars().all(legal)
            && !text.starts_with(['-', '.'])
            && !text.ends_with(['-', '.']),
        "{text}"
    );
}

fn cluster(control_plane: Provider, pools: Provider, kubeadm: Kubeadm) -> Cluster {
    Cluster {
        name: "prod-eu".into(),
        labels: BTreeMap::new(),
        mode: Mode::Act,
        version: "v1.36.3".parse().unwrap(),
        max_unavailable: None,
        control_plane: ControlPlane {
            provider: control_plane,
            kubeadm,
            drain: ControlPlaneDrain::BeforeKubelet,
        },
        etcd_unproven: None,
        pools: vec![Pool {
            prefer_upgraded: false,
            name: "general".into(),
            selector: Selector::default(),
            provider: pools,
            canary: 0,
            soak: SignedDuration::ZERO,
            max_unavailable: Limit::Count(1),
            max_unavailable_per_zone: None,
            foreign_cordon: ForeignCordon::Skip,
            drain: Drain {
                when: DrainWhen::Always,
                timeout: SignedDuration::ZERO,
                delete_empty_dir_data: true,
                jobs: SignedDuration::ZERO,
                implicit_budgets: true,
                recovery: SignedDuration::from_mins(30),
                max_recovering: windlass::model::desired::Limit::Percent(25),
                ahead: false,
                on_not_recovered: windlass::model::desired::OnNotRecovered::Halt,
                on_blocked: windlass::model::desired::OnBlocked::SetAside,
            },
        }],
        addons: Vec::new(),
    }
}

#[test]
fn a_reviewer_reads_each_script_once() {
    let stage = |kind| Stage { kind, hop: 0, to: "v1.36.3".parse().unwrap(), steps: Vec::new() };
    let stages =
        [StageKind::ControlPlane, StageKind::ControlPlaneKubelets, StageKind::Workers, StageKind::Workers]
            .map(stage);
    let own = cluster(Provider::Kubeadm, Provider::Kubeadm, kubeadm(folder(), &[]));
    let titles: Vec<_> = scripts(&own, &stages).into_iter().map(|script| script.title).collect();
    assert_eq!(
        titles,
        [
            "the way to the host, by a Job of the image docker.io/library/busybox:test",
            "v1.36.3: servers of the first control plane node",
            "v1.36.3: servers of every other control plane node",
            "v1.36.3: kubelet of a control plane node",
            "v1.36.3: kubelet of a worker",
        ]
    );
    let hosted = cluster(Provider::External, Provider::Kubeadm, kubeadm(folder(), &[]));
    let waited_for = [StageKind::AwaitControlPlane, StageKind::Workers].map(stage);
    assert_eq!(scripts(&hosted, &waited_for).len(), 2);
    let all_external = cluster(Provider::External, Provider::External, kubeadm(folder(), &[]));
    assert_eq!(scripts(&all_external, &stages), []);
    let elsewhere = cluster(Provider::Kubeadm, Provider::Kubeadm, kubeadm(PackageSource::Packages, &[]));
    assert_ne!(scripts(&own, &stages), scripts(&elsewhere, &stages));
}
