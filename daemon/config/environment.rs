//! The only code that reads the environment, once, at the start.

use std::path::{Path, PathBuf};

/// The environment variables that Windlass uses, read once.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The files of `KUBECONFIG`, or `~/.kube/config` where that exists.
    pub kubeconfigs: Vec<PathBuf>,
    /// `XDG_CACHE_HOME/windlass`, or `~/.cache/windlass`.
    pub cache: Option<PathBuf>,
    /// `RUST_LOG`, as a filter for what is logged.
    pub log: Option<String>,
    /// True if colours are not wanted: `NO_COLOR` is set, or `TERM` is `dumb`.
    pub plain: bool,
    pub host: String,
    pub user: String,
}

impl Environment {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn read() -> Self {
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = path("HOME");
        let usual = home.as_ref().map(|home| home.join(".kube/config")).filter(|path| path.is_file());
        let caches = path("XDG_CACHE_HOME").or_else(|| home.map(|home| home.join(".cache")));
        Self {
            kubeconfigs: path("KUBECONFIG").as_deref().map_or_else(|| usual.into_iter().collect(), list),
            cache: caches.map(|caches| caches.join("windlass")),
            log: text("RUST_LOG"),
            plain: text("NO_COLOR").is_some() || text("TERM").as_deref() == Some("dumb"),
            host: host(text("HOSTNAME")),
            user: text("USER").or_else(|| text("LOGNAME")).unwrap_or_else(|| "unknown".to_owned()),
        }
    }

    /// The name of the user at this terminal, for notes that others read.
    pub fn who(&self) -> String {
        format!("{}@{}", self.user, self.host)
    }
}

/// `KUBECONFIG` may name several files, each once, which are merged as kubectl does.
fn list(value: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = Vec::new();
    for path in std::env::split_paths(value).filter(|path| !path.as_os_str().is_empty()) {
        if !files.contains(&path) {
            files.push(path);
        }
    }
    files
}

/// The machine's name as the kernel has it; in a container that is the pod's name.
fn host(fallback: Option<String>) -> String {
    let kernel = ["/proc/sys/kernel/hostname", "/etc/hostname"];
    let mut names = kernel.iter().filter_map(|path| std::fs::read_to_string(path).ok()).chain(fallback);
    let name = names.find(|name| !name.trim().is_empty()).unwrap_or_else(|| "localhost".to_owned());
    name.trim().chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).take(200).collect()
}
