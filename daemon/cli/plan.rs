//! `windlass plan`: what a change would do, on one page that a reviewer reads at a glance. Loading is not
//! done here: a plan comes in, a page goes out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use crate::diff::Change;
use crate::model::decision::Reason;
use crate::model::plan::{Component, Hop, Plan, PoolLimits, Stage, StageKind, Step};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The cluster; may be left out where the repository describes only one
    pub cluster: Option<String>,
    /// The commit, branch or tag to plan for; the work tree is never read
    #[arg(long, value_name = "REVISION")]
    pub rev: Option<String>,
    /// How the plan is written
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// Print the scripts that would run on the nodes as well
    #[arg(long)]
    pub show_scripts: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
    /// For a comment on a pull request
    Markdown,
}

/// 0: there is nothing to do. 1: it cannot be done as it stands. 2: there is something to do.
pub fn exit_code(plan: &Plan) -> u8 {
    match (plan.blockers.is_empty(), plan.is_empty()) {
        (false, _) => 1,
        (true, true) => 0,
        (true, false) => 2,
    }
}

/// The plan as a page. `changes` are what [`crate::diff::diff`] found; `scripts` are titles and texts of what
/// would run on the nodes, where somebody asked to see them.
pub fn render(
    plan: &Plan,
    changes: &[Change],
    format: Format,
    scripts: Option<&[(String, String)]>,
) -> String {
    let page = Page { plan, changes, hops: hops(plan), scripts: scripts.unwrap_or_default() };
    match format {
        Format::Text => page.text(),
        Format::Json => page.json(),
        Format::Markdown => page.markdown(),
    }
}

struct Page<'a> {
    plan: &'a Plan,
    changes: &'a [Change],
    hops: Vec<(&'a Hop, Vec<Row>)>,
    scripts: &'a [(String, String)],
}

/// What one stage does to one scope.
struct Row {
    what: String,
    nodes: usize,
    how: String,
}

fn hops(plan: &Plan) -> Vec<(&Hop, Vec<Row>)> {
    let rows = |number: usize| {
        plan.stages
            .iter()
            .filter(move |stage| stage.hop == number)
            .flat_map(|stage| rows_of(plan, stage))
            .collect()
    };
    plan.hops.iter().enumerate().map(|(number, hop)| (hop, rows(number))).collect()
}

fn rows_of(plan: &Plan, stage: &Stage) -> Vec<Row> {
    let row = |what: &str, how: String| Row { what: what.to_owned(), nodes: stage.steps.len(), how };
    match stage.kind {
        StageKind::AwaitServers => vec![Row {
            what: "control plane".to_owned(),
            nodes: 0,
            how: format!("waited for: somebody else moves it to {}", awaited(plan, stage)),
        }],
        StageKind::Servers => vec![row("control plane servers", "one at a time".to_owned())],
        StageKind::ControlPlaneKubelets => {
            vec![row(
                "control plane kubelets",
                format!("one at a time, {}", emptied(&stage.steps.iter().collect::<Vec<_>>())),
            )]
        }
        StageKind::Workers => by_pool(stage).map(|(pool, steps)| worker_row(plan, pool, &steps)).collect(),
    }
}

/// On the way, any patch of the minor will do.
fn awaited(plan: &Plan, stage: &Stage) -> String {
    if stage.to == plan.to { stage.to.to_string() } else { stage.to.minor_name() }
}

/// Steps by pool, in the order in which the pools have their turn.
fn by_pool(stage: &Stage) -> impl Iterator<Item = (&str, Vec<&Step>)> {
    let mut order: Vec<&str> = Vec::new();
    let mut pools: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
    for step in &stage.steps {
        if !pools.contains_key(step.pool.as_str()) {
            order.push(&step.pool);
        }
        pools.entry(&step.pool).or_default().push(step);
    }
    order.into_iter().map(move |pool| (pool, pools.remove(pool).unwrap_or_default()))
}

fn worker_row(plan: &Plan, pool: &str, steps: &[&Step]) -> Row {
    let canaries = steps.iter().filter(|step| step.canary).count();
    let limits = plan.pools.get(pool).map(|limits| limit_words(limits, canaries));
    let how = limits.into_iter().chain([emptied(steps).to_owned()]).collect::<Vec<_>>().join("; ");
    Row { what: pool.to_owned(), nodes: steps.len(), how }
}

fn limit_words(limits: &PoolLimits, canaries: usize) -> String {
    let mut words = format!("at most {} at once", limits.max_unavailable);
    if let Some(zone) = limits.max_unavailable_per_zone {
        let _ = write!(words, ", {zone} per zone");
    }
    if canaries > 0 {
        let _ = write!(words, "; {canaries} first as canary");
        if limits.soak_seconds > 0 {
            let _ = write!(words, ", then {} of soak", length(limits.soak_seconds));
        }
    }
    words
}

fn emptied(steps: &[&Step]) -> &'static str {
    match steps.iter().filter(|step| step.drain).count() {
        0 => "in place",
        some if some == steps.len() => "emptied first",
        _ => "some emptied first",
    }
}

/// `1h30m`, `45s`.
fn length(seconds: i64) -> String {
    let parts = [(seconds / 3600, "h"), (seconds % 3600 / 60, "m"), (seconds % 60, "s")];
    let words =
        parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}"));
    words.collect::<Vec<_>>().concat()
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    plan: &'a Plan,
    changes: &'a [Change],
    nodes: usize,
    pods_to_move: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    scripts: Vec<JsonScript<'a>>,
}

#[derive(Serialize)]
struct JsonScript<'a> {
    title: &'a str,
    script: &'a str,
}

impl Page<'_> {
    /// Nodes that are touched.
    fn nodes(&self) -> usize {
        self.plan
            .steps()
            .map(|step| &step.node)
            .filter(|node| !node.is_empty())
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// Pods that leave a node, once for each time that it is emptied. An estimate: pods come and go.
    fn pods_to_move(&self) -> u64 {
        let kubelets = self.changes.iter().filter(|change| change.component == Component::Kubelet);
        let pods: BTreeMap<&str, u32> = kubelets.map(|change| (change.node.as_str(), change.pods)).collect();
        let drained = self.plan.steps().filter(|step| step.drain);
        drained.filter_map(|step| pods.get(step.node.as_str())).map(|pods| u64::from(*pods)).sum()
    }

    /// `v1.34.2 → v1.36.3`, from what is oldest; where the servers are there already, that is a kubelet.
    fn way(&self) -> String {
        let from = self.hops.first().map_or(&self.plan.from, |(hop, _)| &hop.from);
        if *from == self.plan.to {
            format!("→ {}", self.plan.to)
        } else {
            format!("{from} → {}", self.plan.to)
        }
    }

    /// `2 hops, 15 nodes, about 214 pods to move`.
    fn summary(&self) -> String {
        let hops = count(self.hops.len(), "hop");
        match self.pods_to_move() {
            0 => format!("{hops}, {}, no pod has to move", count(self.nodes(), "node")),
            1 => format!("{hops}, {}, about 1 pod to move", count(self.nodes(), "node")),
            pods => format!("{hops}, {}, about {pods} pods to move", count(self.nodes(), "node")),
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let plan = self.plan;
        if plan.is_empty() && plan.blockers.is_empty() {
            let _ = writeln!(out, "{}  {}  nothing to do", plan.cluster, plan.to);
        } else {
            let _ = writeln!(out, "{}  {}", plan.cluster, self.way());
        }
        if !plan.is_empty() {
            let _ = writeln!(out, "{}", self.summary());
        }
        let widest = self
            .hops
            .iter()
            .flat_map(|(_, rows)| rows)
            .map(|row| row.what.chars().count())
            .max()
            .unwrap_or(0);
        for (number, (hop, rows)) in self.hops.iter().enumerate() {
            let _ = writeln!(out, "\nhop {}  {} → {}", number + 1, hop.from, hop.to);
            for row in rows {
                let _ = match row.nodes {
                    0 => writeln!(out, "  {:widest$}               {}", row.what, row.how),
                    1 => writeln!(out, "  {:widest$}      1 node   {}", row.what, row.how),
                    many => writeln!(out, "  {:widest$}  {many:>5} nodes  {}", row.what, row.how),
                };
            }
        }
        reasons(&mut out, "blocked", &plan.blockers);
        reasons(&mut out, "risks", &plan.risks);
        for (title, script) in self.scripts {
            let _ = writeln!(out, "\nscript  {}", plain(title));
            for line in script.lines() {
                let _ = writeln!(out, "  {}", plain(line));
            }
        }
        let _ = writeln!(out, "\ndigest  {}", plan.digest);
        out
    }

    fn markdown(&self) -> String {
        let mut out = String::new();
        let plan = self.plan;
        let _ = match (plan.is_empty(), plan.blockers.is_empty()) {
            (true, true) => writeln!(out, "### `{}` runs {}: nothing to do", plan.cluster, plan.to),
            (_, false) => writeln!(out, "### `{}` {}: blocked", plan.cluster, self.way()),
            (false, true) => writeln!(out, "### `{}` {}", plan.cluster, self.way()),
        };
        markdown_reasons(&mut out, "Cannot be done as it stands", &plan.blockers);
        if !plan.is_empty() {
            let _ = writeln!(
                out,
                "\n{}\n\n| hop | what | nodes | how |\n|---|---|---:|---|",
                capital(&self.summary())
            );
            for (hop, rows) in &self.hops {
                for (number, row) in rows.iter().enumerate() {
                    let hop =
                        if number == 0 { format!("{} → {}", hop.from, hop.to) } else { String::new() };
                    let nodes = if row.nodes == 0 { String::new() } else { row.nodes.to_string() };
                    let _ =
                        writeln!(out, "| {hop} | {} | {nodes} | {} |", escaped(&row.what), escaped(&row.how));
                }
            }
        }
        markdown_reasons(&mut out, &format!("{} to know of", count(plan.risks.len(), "risk")), &plan.risks);
        for (title, script) in self.scripts {
            let _ = writeln!(out, "\n<details><summary>{}</summary>\n", escaped(title));
            for line in script.lines() {
                // Indented code has no end that a script could write.
                let _ = writeln!(out, "    {}", plain(line));
            }
            let _ = writeln!(out, "\n</details>");
        }
        let _ = writeln!(out, "\nDigest `{}`", plan.digest);
        out
    }

    fn json(&self) -> String {
        let scripts = self.scripts.iter().map(|(title, script)| JsonScript { title, script });
        let json = Json {
            plan: self.plan,
            changes: self.changes,
            nodes: self.nodes(),
            pods_to_move: self.pods_to_move(),
            scripts: scripts.collect(),
        };
        // Strings, numbers and lists of them cannot fail to be written.
        serde_json::to_string_pretty(&json).unwrap_or_default() + "\n"
    }
}

fn reasons(out: &mut String, title: &str, reasons: &[Reason]) {
    if reasons.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}");
    // A long name shifts its own line, not all of them.
    let width = reasons
        .iter()
        .map(|reason| reason.object.chars().count())
        .filter(|width| *width <= 40)
        .max()
        .unwrap_or(0);
    for reason in reasons {
        let _ = writeln!(
            out,
            "  {:width$}  {}  [{}]",
            plain(&reason.object),
            plain(&reason.text),
            reason.key.as_str()
        );
    }
}

fn markdown_reasons(out: &mut String, title: &str, reasons: &[Reason]) {
    if reasons.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n**{title}**\n");
    for reason in reasons {
        let (object, text) = (plain(&reason.object).replace('`', "'"), escaped(&reason.text));
        let _ = writeln!(out, "- `{object}` {text} _({})_", reason.key.as_str());
    }
}

/// Words from a cluster on a terminal: without anything that a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Words from a cluster in Markdown: without anything that would become a table, a tag, a link or a mention.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '|' | '[' | ']' | '\\' | '*' | '_' => out.extend(['\\', c]),
            // An invisible character keeps a name from being called.
            '@' => out.push_str("@\u{200b}"),
            other => out.push(other),
        }
    }
    out
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
