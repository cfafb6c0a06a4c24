//! One pure pass: every case in `cases/pass` is a world, a record and a time; what the pass answers is its golden page.

mod case;
mod marks;
mod mutations;
mod page;
mod properties;
mod scene;
mod story;

use std::fs;
use std::path::{Path, PathBuf};

use case::Case;
use scene::Scene;
use windlass::reconcile::{check, tick};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/pass")
}

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn load(folder: &Path) -> (Case, Scene) {
    let name = folder.file_name().unwrap().to_string_lossy();
    let text = fs::read_to_string(folder.join("case.yaml")).unwrap();
    let case = Case::read(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let scene = Scene::of(&case);
    (case, scene)
}

/// The case of this name.
fn scene(name: &str) -> Scene {
    load(&folder().join(name)).1
}

#[test]
fn every_case_gives_its_golden_page() {
    for folder in cases() {
        let (case, scene) = load(&folder);
        let page = page::page(&scene, &tick(scene.input()));
        insta::with_settings!({
            snapshot_path => folder,
            prepend_module_to_snapshot => false,
            omit_expression => true,
            description => case.about,
        }, {
            insta::assert_snapshot!("pass", page);
        });
    }
}

#[test]
fn the_check_has_nothing_against_any_case() {
    for folder in cases() {
        let (_, scene) = load(&folder);
        let tick = tick(scene.input());
        assert_eq!(check(&scene.input(), &tick), [], "{}", folder.display());
    }
}

#[test]
fn a_pass_is_the_same_every_time() {
    for folder in cases() {
        let (_, scene) = load(&folder);
        let pages = [1, 2].map(|_| page::page(&scene, &tick(scene.input())));
        assert_eq!(pages[0], pages[1], "{}", folder.display());
    }
}
