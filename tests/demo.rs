//! The demonstration as people run it, only faster: it converges, keeps every budget, and says so.

use windlass::cli::demo;
use windlass::view::ink::Ink;

/// Fast enough for a test, slow enough for a busy machine to keep its lease and to meet a Job before it ends: twenty
/// seconds are one second here.
const SPEED: u32 = 20;

fn args() -> demo::Args {
    let version = |text: &str| text.parse().unwrap();
    demo::Args { speed: SPEED, keep: false, port: 0, from: version("v1.35.4"), to: version("v1.36.3") }
}

fn play(args: &demo::Args) -> (u8, String) {
    let (_end, ending) = tokio::sync::watch::channel(false);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut out = Vec::new();
    let code = runtime.block_on(demo::run(args, Ink::Plain, &mut out, ending)).unwrap();
    (code, String::from_utf8(out).unwrap())
}

#[test]
fn the_demonstration_converges_and_tells_what_happens() {
    let (code, page) = play(&args());
    assert_eq!(code, 0, "{page}");
    for wanted in [
        "3 control plane nodes and 8 workers in 3 zones; 90 of 90 pods are Ready",
        "Grace Example commits",
        "Ada Example commits",
        "-     version: v1.35.4",
        "+     version: v1.36.3",
        "v1.35.4 to v1.36.3, 11 nodes; its plan",
        "rollback point",
        "the control plane components, strictly one node at a time",
        "its control plane runs v1.36.3",
        "the kubelets of the control plane, strictly one at a time",
        "the workers of all pools",
        "its canary soaks before the other nodes follow, until",
        "budget shop/search: it allows no disruption at present",
        "it belongs to a running Job",
        "min left",
        "ended converged",
        "git log --oneline windlass/status",
        "# demo: v1.35.4 to v1.36.3, converged",
        "the cluster is as git asks",
        "no pod more than once",
        "0 breaches of disruption budgets",
    ] {
        assert!(page.contains(wanted), "`{wanted}` is missing in:\n{page}");
    }
    let names = |pool: &str, count: u32| (1..=count).map(|n| format!("  {pool}-{n}")).collect::<Vec<_>>();
    for node in [names("cp", 3), names("general", 5), names("batch", 3)].concat() {
        let back = page.lines().any(|line| line.contains(&node) && line.contains("back in service"));
        assert!(back, "{node} is not said to be back:\n{page}");
    }
    assert!(!page.contains('\u{1b}'), "colours in a pipe:\n{page}");
    let lines = page.lines().count();
    assert!((60..=160).contains(&lines), "{lines} lines:\n{page}");
}

#[test]
fn going_back_is_refused_before_anything_is_made() {
    let args = demo::Args { to: "v1.35.4".parse().unwrap(), from: "v1.36.3".parse().unwrap(), ..args() };
    let (_end, ending) = tokio::sync::watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut out = Vec::new();
    let error = runtime.block_on(demo::run(&args, Ink::Plain, &mut out, ending)).unwrap_err();
    assert_eq!(error.to_string(), "v1.35.4 is not newer than v1.36.3: the demonstration shows an upgrade");
    assert!(out.is_empty());
}
