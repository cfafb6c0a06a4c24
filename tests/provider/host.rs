//! The host scripts, whole, on a made-up host: every path lies below a folder of ours, and the programs of the host are
//! stubs that keep their state in files. What is held, locked, full, stale or cut ends as it should. No program of the
//! developer's machine is found but those of [`TOOLS`].

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use windlass::model::desired::PackageSource;
use windlass::model::plan::Component;
use windlass::provider::Role;

/// What the scripts and the stubs use of any machine; it reads and writes files that it is told.
const TOOLS: [&str; 31] = [
    "awk",
    "cat",
    "chmod",
    "cmp",
    "cp",
    "cut",
    "date",
    "dirname",
    "du",
    "env",
    "find",
    "grep",
    "head",
    "install",
    "ln",
    "mkdir",
    "mv",
    "printf",
    "readlink",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "sh",
    "sha256sum",
    "sort",
    "tail",
    "tee",
    "timeout",
    "touch",
    "tr",
];

/// The host's programs. `@` is the folder of the host. A kubelet that was restarted is a process in `@/proc`.
const STUBS: &[(&str, &str)] = &[
    ("id", "echo 0"),
    ("sleep", ":"),
    ("stat", r#"case "$*" in *cgroup*) echo cgroup2fs ;; *) exec /usr/bin/stat "$@" ;; esac"#),
    ("df", r#"printf 'x\nx 1 1 %s\n' "$(($(cat @/free) * 1024))""#),
    ("flock", ":"),
    ("sync", ":"),
    (
        "kubeadm",
        r#"
        case "$*" in
        version*) cat @/installed/kubeadm ;;
        "upgrade node"*) echo "$*" >>@/did ;;
        upgrade*)
            echo "$*" >>@/did
            kept=@/etc/kubernetes/tmp/kubeadm-backup-manifests-$(date +%F-%H-%M-%S); mkdir -p "$kept"
            for each in kube-apiserver kube-controller-manager kube-scheduler; do
                [ -f "@/etc/kubernetes/manifests/$each.yaml" ] || { echo "$each.yaml is missing"; exit 1; }
            done
            for each in kube-apiserver kube-controller-manager kube-scheduler; do
                mv "@/etc/kubernetes/manifests/$each.yaml" "$kept/"
                [ "$(cat @/cut-in-kubeadm 2>/dev/null)" != "$each" ] || { rm @/cut-in-kubeadm; kill -9 "$(cat @/script)"; exit 1; }
                sed 's/v1[.]35[.]4/v1.36.3/' "$kept/$each.yaml" >"@/etc/kubernetes/manifests/$each.yaml"
            done ;;
        esac"#,
    ),
    ("kubelet", r#"echo "Kubernetes $(cat @/installed/kubelet)""#),
    (
        "kubectl",
        r#"
        case "$*" in
        version*) echo "Client Version: $(cat @/installed/kubectl)" ;;
        *readyz*) echo ok ;;
        *version*) echo '  "gitVersion": "v1.36.3",' ;;
        esac"#,
    ),
    (
        "systemctl",
        r#"
        echo "systemctl $*" >>@/did
        case "$*" in "restart kubelet") rm -rf @/proc; mkdir -p @/proc/7; echo kubelet >@/proc/7/comm; ln -s @/bin/kubelet @/proc/7/exe ;; esac"#,
    ),
];

/// A host with apt: packages of 1.35.4 are installed and held, and its source has the minor v1.35.
const APT: &[(&str, &str)] = &[
    (
        "apt-get",
        r#"
        busy() { left=$(cat "@/busy-$1" 2>/dev/null || echo 0); [ "$left" -gt 0 ] || return 1; echo $((left - 1)) >"@/busy-$1"; echo "E: Could not get lock $2. It is held by process 12 (apt-get)"; }
        case "$*" in
        *update*)
            ! busy lists /var/lib/apt/lists/lock || exit 100
            left=$(cat @/away 2>/dev/null || echo 0)
            [ "$left" -eq 0 ] || { echo $((left - 1)) >@/away; echo "E: Failed to fetch https://pkgs.example.com/InRelease 503 Service Unavailable"; exit 100; }
            cp @/etc/apt/sources.list.d/k.list @/known ;;
        *" -s "*) cat @/simulation 2>/dev/null; exit "$(cat @/simulation-ends 2>/dev/null || echo 0)" ;;
        *install*)
            ! busy archives /var/cache/apt/archives/lock || exit 100
            for each in "$@"; do case $each in
                *=*) grep -qx "${each%%=*}" @/held && { echo "E: Held packages were changed"; exit 100; }
                     new="v${each#*=}"; echo "${new%-*}" >"@/installed/${each%%=*}" ;;
            esac; done ;;
        esac"#,
    ),
    (
        "apt-cache",
        r#"v=1.35.4; grep -q v1.36 @/known 2>/dev/null && v=1.36.3; echo "  $2 | $v-1.1 | https://pkgs.example.com/core:/stable:/deb Packages""#,
    ),
    (
        "apt-mark",
        r#"
        action=$1; shift
        case $action in
        showhold) cat @/held ;;
        hold) for each in "$@"; do grep -qx "$each" @/held || echo "$each" >>@/held; done ;;
        unhold) for each in "$@"; do grep -vx "$each" @/held >@/held.new; mv @/held.new @/held; done ;;
        esac"#,
    ),
    (
        "dpkg",
        r#"
        case "$1" in
        --audit) cat @/audit 2>/dev/null || : ;;
        --configure)
            left=$(cat @/busy-dpkg 2>/dev/null || echo 0)
            [ "$left" -eq 0 ] || { echo $((left - 1)) >@/busy-dpkg; echo "dpkg: error: dpkg frontend lock was locked by another process with pid 4321"; exit 2; } ;;
        esac"#,
    ),
];

/// A host with dnf, and a lock of rpm that another one holds.
const DNF: &[(&str, &str)] = &[(
    "dnf",
    r#"
        case "$*" in
        *--help*) echo "  --disableexcludes" ;;
        *list*) [ ! -f @/mirror ] || { cat @/mirror; exit 1; }; grep -q v1.36 @/etc/yum.repos.d/k.repo ;;
        *install*)
            left=$(cat @/busy-rpm 2>/dev/null || echo 0)
            [ "$left" -eq 0 ] || { echo $((left - 1)) >@/busy-rpm; echo "can't create transaction lock on /var/lib/rpm/.rpm.lock"; exit 1; }
            for each in kubeadm kubelet kubectl; do case "$*" in *$each-1.36.3*) echo v1.36.3 >"@/installed/$each" ;; esac; done ;;
        esac"#,
)];

struct Host {
    folder: TempDir,
    text: String,
}

impl Host {
    fn new(role: Role, managers: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let kubeadm = super::kubeadm(PackageSource::Packages, &[]);
        let step = super::step("w1", role.component(), "v1.36.3");
        let text = super::jobs().script(&super::order(&step, role, &kubeadm, 1));
        let host = Self { folder, text };
        for path in [
            "bin",
            "etc/kubernetes/manifests",
            "etc/kubernetes/tmp",
            "etc/apt/sources.list.d",
            "etc/yum.repos.d",
            "var/lib/kubelet",
            "installed",
            "proc",
        ] {
            fs::create_dir_all(host.path(path)).unwrap();
        }
        for (name, body) in STUBS.iter().chain(managers) {
            let body = body.replace('@', &host.root()).replace(&format!("\"${}", host.root()), "\"$@");
            host.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{body}\n"));
            fs::set_permissions(host.path(&format!("bin/{name}")), fs::Permissions::from_mode(0o755))
                .unwrap();
        }
        for tool in TOOLS {
            let real = ["/usr/bin", "/bin"]
                .iter()
                .map(|folder| PathBuf::from(folder).join(tool))
                .find(|path| path.exists());
            std::os::unix::fs::symlink(real.unwrap(), host.path(&format!("bin/{tool}"))).unwrap();
        }
        for each in ["kubeadm", "kubelet", "kubectl"] {
            host.write(&format!("installed/{each}"), "v1.35.4\n");
        }
        host.write("held", "kubeadm\nkubelet\nkubectl\n");
        host.write("free", "9000\n");
        host.write("etc/kubernetes/kubelet.conf", "");
        let source = "https://pkgs.example.com/core:/stable:/v1.35/deb/";
        host.write("etc/apt/sources.list.d/k.list", &format!("deb {source} /\n"));
        host.write("etc/yum.repos.d/k.repo", &format!("baseurl={source}\n"));
        if role != Role::WorkerKubelet {
            let runs = if role == Role::ControlPlaneKubelet { "v1.36.3" } else { "v1.35.4" };
            host.write("etc/kubernetes/manifests/etcd.yaml", "    image: registry.k8s.io/etcd:3.6.11-0\n");
            for each in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
                host.write(&format!("etc/kubernetes/manifests/{each}.yaml"), &manifest(each, runs));
            }
        }
        host
    }

    fn root(&self) -> String {
        self.folder.path().display().to_string()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn run(&self) -> (Option<i32>, String) {
        self.run_text(&self.text)
    }

    /// Runs a script on this host; a shell that is killed has no exit code.
    fn run_text(&self, text: &str) -> (Option<i32>, String) {
        let mut text = text.replace(
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
            &format!("PATH={}/bin\n", self.root()),
        );
        assert!(
            text.contains(&format!("PATH={}/bin\n", self.root())),
            "the script would find the machine's programs"
        );
        for path in [
            "/etc/kubernetes",
            "/etc/apt",
            "/etc/yum.repos.d",
            "/var/lib/windlass",
            "/var/lib/etcd",
            "/var/lib/kubelet",
            "/proc/[",
        ] {
            text = text.replace(path, &format!("{}{path}", self.root()));
        }
        self.write(
            "script.sh",
            &text.replace("\nset -eu\n", &format!("\nset -eu\necho $$ >{}/script\n", self.root())),
        );
        let output = Command::new("sh").arg(self.path("script.sh")).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    }

    fn installed(&self) -> String {
        ["kubeadm", "kubelet", "kubectl"]
            .map(|each| self.read(&format!("installed/{each}")).trim().to_owned())
            .join(" ")
    }

    fn servers(&self) -> String {
        let tag = |each: &str| {
            let text = self.read(&format!("etc/kubernetes/manifests/{each}.yaml"));
            text.lines()
                .find_map(|line| Some(line.trim().strip_prefix("image:")?.rsplit_once(':')?.1.to_owned()))
        };
        let found = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"]
            .map(|each| tag(each).unwrap_or("none".into()));
        found.join(" ")
    }
}

fn manifest(component: &str, version: &str) -> String {
    format!("    image: registry.k8s.io/{component}:{version}\n    - --etcd-servers=https://127.0.0.1:2379\n")
}

#[test]
fn a_worker_and_a_control_plane_node_reach_the_target() {
    for managers in [APT, DNF] {
        let host = Host::new(Role::WorkerKubelet, managers);
        let (code, said) = host.run();
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(host.installed(), "v1.36.3 v1.36.3 v1.36.3");
        assert_eq!(host.read("did"), "upgrade node\nsystemctl daemon-reload\nsystemctl restart kubelet\n");
        let host = Host::new(Role::FirstControlPlane, managers);
        let (code, said) = host.run();
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(
            (host.servers().as_str(), host.installed().as_str()),
            ("v1.36.3 v1.36.3 v1.36.3", "v1.36.3 v1.35.4 v1.35.4")
        );
    }
}

/// What is wrong with a host before the run, how the script ends, and words of what it says.
#[test]
#[expect(clippy::too_many_lines, reason = "it is one table")]
fn a_host_that_is_busy_is_waited_for_and_one_that_is_not_right_is_refused_untouched() {
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)], i32, &'a str);
    let rows: [Row; 14] = [
        (
            "another dpkg is at work for a while",
            APT,
            &[("audit", "kubeadm\n"), ("busy-dpkg", "2")],
            0,
            "tries again in 10 seconds",
        ),
        ("the repository is away for a while", APT, &[("away", "2")], 0, "tries again in 10 seconds"),
        ("the repository is away for long", APT, &[("away", "9")], 10, "503 Service Unavailable"),
        (
            "the mirror is away",
            DNF,
            &[("mirror", "Error: Failed to download metadata: Cannot download repomd.xml\n")],
            10,
            "dnf knows no package kubeadm of version 1.36.3: Error: Failed to download metadata",
        ),
        ("the lists are locked for a while", APT, &[("busy-lists", "3")], 0, "tries again in 10 seconds"),
        (
            "the downloads are locked for a while",
            APT,
            &[("busy-archives", "3")],
            0,
            "tries again in 10 seconds",
        ),
        ("rpm is locked for a while", DNF, &[("busy-rpm", "3")], 0, "tries again in 10 seconds"),
        (
            "the lists are locked for long",
            APT,
            &[("busy-lists", "900")],
            10,
            "at work on this host for 5 minutes: E: Could not get lock /var/lib/apt/lists/lock",
        ),
        (
            "the downloads are locked for long",
            APT,
            &[("busy-archives", "900")],
            1,
            "E: Could not get lock /var/cache/apt/archives/lock",
        ),
        (
            "what comes along is held",
            APT,
            &[("simulation", "Inst cri-tools [1.35.0-1.1] (1.36.0-1.1)\n"), ("held", "kubelet\ncri-tools\n")],
            10,
            "release it with apt-mark unhold cri-tools",
        ),
        (
            "what comes along is held by nobody",
            APT,
            &[("simulation", "Inst cri-tools [1.35.0-1.1] (1.36.0-1.1)\n")],
            0,
            "done",
        ),
        (
            "apt sees that it cannot",
            APT,
            &[
                ("simulation", "E: Unable to correct problems, you have held broken packages.\n"),
                ("simulation-ends", "100"),
            ],
            10,
            "you have held broken packages",
        ),
        ("the disk is full", APT, &[("free", "100")], 10, "has 100 MiB free and needs"),
        (
            "the repository is another one",
            APT,
            &[("etc/apt/sources.list.d/k.list", "deb https://mirror.example.com/kubernetes /\n")],
            10,
            "apt knows no package kubeadm of version 1.36.3",
        ),
    ];
    for (what, managers, files, ends, words) in rows {
        let host = Host::new(Role::WorkerKubelet, managers);
        for (name, text) in files {
            host.write(name, text);
        }
        let source = host.read("etc/apt/sources.list.d/k.list");
        let (code, said) = host.run();
        assert_eq!(code, Some(ends), "{what}: {said}");
        assert!(said.contains(words), "{what}: {said}");
        if ends == 10 {
            let untouched = (host.installed(), host.read("etc/apt/sources.list.d/k.list"), host.read("did"));
            assert_eq!(
                untouched,
                ("v1.35.4 v1.35.4 v1.35.4".to_owned(), source, String::new()),
                "{what}: {said}"
            );
        }
        for each in ["kubelet", "kubectl", "kubeadm"].iter().filter(|_| ends == 0 && managers == APT) {
            assert!(host.read("held").lines().any(|line| line == *each), "{what}: {each} is not held");
        }
    }
}

fn kept(host: &Host, day: &str, files: &[(&str, &str)]) {
    for (component, version) in files {
        let path = format!("etc/kubernetes/tmp/kubeadm-backup-manifests-{day}-10-00-00/{component}.yaml");
        host.write(&path, &manifest(component, version));
    }
}

/// What is missing, what is at the target already, what was kept and when; then the ending and its words.
type PutBack<'a> = (&'a str, &'a [&'a str], &'a str, Vec<(&'a str, &'a str)>, i32, &'a str);

#[test]
fn only_a_manifest_that_this_upgrade_took_away_is_put_back() {
    let date = Command::new("date").arg("+%F").output().unwrap();
    let today = String::from_utf8(date.stdout).unwrap().trim().to_owned();
    let old = "2025-03-01";
    let (api, manager, scheduler) = ("kube-apiserver", "kube-controller-manager", "kube-scheduler");
    let whole = |version| [(api, version), (manager, version), (scheduler, version)];
    let upgraded = [api, manager];
    let rows: Vec<PutBack<'_>> = vec![
        (scheduler, &[], &today, whole("v1.35.4").into(), 0, "puts back"),
        (scheduler, &upgraded, &today, whole("v1.35.4").into(), 0, "puts back"),
        (api, &[], &today, vec![(api, "v1.35.4")], 0, "puts back"),
        (scheduler, &[], old, whole("v1.35.4").into(), 10, "is older than a week"),
        (scheduler, &[], &today, whole("v1.33.1").into(), 10, "is v1.33.1 while kube-apiserver is v1.35.4"),
        (scheduler, &[], &today, vec![(api, "v1.35.4")], 10, "the last attempt of kubeadm did not keep it"),
        (scheduler, &[], &today, Vec::new(), 10, "the last attempt of kubeadm did not keep it"),
    ];
    for (lost, moved, day, files, ends, words) in rows {
        let host = Host::new(Role::FirstControlPlane, APT);
        for each in moved {
            host.write(&format!("etc/kubernetes/manifests/{each}.yaml"), &manifest(each, "v1.36.3"));
        }
        fs::remove_file(host.path(&format!("etc/kubernetes/manifests/{lost}.yaml"))).unwrap();
        kept(&host, day, &files);
        let (code, said) = host.run();
        assert_eq!(code, Some(ends), "{lost} {moved:?} {day} {files:?}: {said}");
        assert!(said.contains(words), "{lost} {moved:?} {day} {files:?}: {said}");
        let there = host.path(&format!("etc/kubernetes/manifests/{lost}.yaml")).exists();
        assert_eq!(there, ends == 0, "{lost} {day}");
    }
}

#[test]
fn etcd_is_put_back_only_where_the_api_server_uses_it() {
    let date = Command::new("date").arg("+%F").output().unwrap();
    let today = String::from_utf8(date.stdout).unwrap().trim().to_owned();
    for (servers, day, ends, back) in [
        ("https://127.0.0.1:2379", today.as_str(), 0, true),
        ("https://127.0.0.1:2379", "2025-03-01", 10, false),
        ("https://etcd.example.com:2379", today.as_str(), 0, false),
        ("https://etcd.example.com:2379", "2025-03-01", 0, false),
        ("https://10.0.0.1:2379,https://10.0.0.2:2379", today.as_str(), 0, false),
    ] {
        let host = Host::new(Role::FirstControlPlane, APT);
        for each in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
            let text = manifest(each, "v1.35.4").replace("https://127.0.0.1:2379", servers);
            host.write(&format!("etc/kubernetes/manifests/{each}.yaml"), &text);
        }
        fs::remove_file(host.path("etc/kubernetes/manifests/etcd.yaml")).unwrap();
        kept(&host, day, &[("etcd", "3.5.21-0"), ("kube-apiserver", "v1.35.4")]);
        let (code, said) = host.run();
        assert_eq!(code, Some(ends), "{servers} {day}: {said}");
        assert_eq!(host.path("etc/kubernetes/manifests/etcd.yaml").exists(), back, "{servers} {day}: {said}");
    }
}

/// What a line has in it that may change something, or wait for something.
const CHANGES: [&str; 16] = [
    ">",
    "mv ",
    "cp ",
    "rm ",
    "run ",
    "run_when_free ",
    "apt-mark",
    "use_repository ",
    "take ",
    "configure",
    "upgrade ",
    "sha256sum",
    "keep_held",
    "touch ",
    "mkdir ",
    "wait_for_",
];

/// The script, killed before each line that changes something; between two of them, a cut is the same. Then it is run
/// again, as the next Job does.
fn cut_everywhere(role: Role) {
    let whole = Host::new(role, APT);
    let lines: Vec<String> = whole.text.lines().map(str::to_owned).collect();
    let mut cuts = 0;
    for number in 0..lines.len() {
        let line = lines[number].trim_start().replace(">/dev/null", "").replace("2>&1", "");
        if line.starts_with('#') || !CHANGES.iter().any(|word| line.contains(word)) {
            continue;
        }
        let mut text = String::new();
        for (at, line) in lines.iter().enumerate() {
            let cut = if at == number { "kill -9 $$\n" } else { "" };
            writeln!(text, "{cut}{line}").unwrap();
        }
        let host = Host::new(role, APT);
        host.write("cut.sh", &text);
        // Within a statement of several lines nothing can be put.
        if !Command::new("sh").arg("-n").arg(host.path("cut.sh")).output().unwrap().status.success() {
            continue;
        }
        // A line that is not reached cuts nothing.
        if host.run_text(&text).0.is_none() {
            cuts += 1;
            finishes(&host, role, &format!("cut before line {number}: {line}"));
        }
    }
    assert!(cuts >= 12, "{role:?}: {cuts}");
}

#[test]
fn a_worker_that_is_cut_at_any_line_is_finished_by_the_next_run() {
    cut_everywhere(Role::WorkerKubelet);
}

#[test]
fn a_control_plane_node_that_is_cut_at_any_line_is_finished_by_the_next_run() {
    cut_everywhere(Role::FirstControlPlane);
}

fn finishes(host: &Host, role: Role, what: &str) {
    let (code, said) = host.run();
    assert_eq!(code, Some(0), "{role:?}, {what}: {said}");
    let installed = match role {
        Role::WorkerKubelet => "v1.36.3 v1.36.3 v1.36.3",
        Role::ControlPlaneKubelet => "v1.35.4 v1.36.3 v1.36.3",
        Role::FirstControlPlane | Role::OtherControlPlane => "v1.36.3 v1.35.4 v1.35.4",
    };
    assert_eq!(host.installed(), installed, "{role:?}, {what}: {said}");
    for each in ["kubeadm", "kubelet", "kubectl"] {
        assert!(host.read("held").lines().any(|line| line == each), "{role:?}, {what}: {each} is not held");
    }
    if role.component() == Component::ControlPlane {
        assert_eq!(host.servers(), "v1.36.3 v1.36.3 v1.36.3", "{what}: {said}");
    } else {
        assert!(host.path("proc/7/exe").exists(), "{role:?}, {what}: {said}");
    }
    let source = host.read("etc/apt/sources.list.d/k.list");
    assert_eq!(source, "deb https://pkgs.example.com/core:/stable:/v1.36/deb/ /\n", "{what}");
    assert!(!host.path("etc/apt/sources.list.d/k.list.windlass-new").exists(), "{what}");
}

#[test]
fn kubeadm_that_is_cut_between_two_manifests_is_finished_by_the_next_run() {
    for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        let host = Host::new(Role::FirstControlPlane, APT);
        host.write("cut-in-kubeadm", component);
        let (code, said) = host.run();
        assert_ne!(code, Some(0), "{said}");
        assert!(host.servers().contains("none"), "{component}: {said}");
        finishes(&host, Role::FirstControlPlane, component);
    }
}
