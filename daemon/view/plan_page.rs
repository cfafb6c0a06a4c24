//! A plan for people: on a terminal, and as Markdown for a comment on a pull request. One page to read at a glance,
//! with nothing that the data does not have.

use std::fmt::Write as _;

use jiff::SignedDuration;

use super::Page;
use super::plan::{Hop, Plan, PlanPage, Pool, Stage, StageKind, Step};
use crate::model::decision::Reason;
use crate::model::text::{plain, plural, written};

/// What one stage does in one scope.
struct PlanRow {
    what: String,
    nodes: usize,
    how: String,
}

impl PlanPage {
    /// Every hop with its rows.
    fn hops(&self) -> Vec<(&Hop, Vec<PlanRow>)> {
        let rows = |number: usize| {
            let stages = self.plan.stages.iter().filter(move |stage| stage.hop == number);
            stages.flat_map(|stage| rows_of(&self.plan, stage)).collect()
        };
        self.plan.hops.iter().enumerate().map(|(number, hop)| (hop, rows(number))).collect()
    }

    /// `v1.34.2 → v1.36.3`, from the oldest version. If the control plane is done already, that is a kubelet's.
    fn way(&self) -> String {
        let from = self.plan.hops.first().map_or(&self.plan.from, |hop| &hop.from);
        if from.is_as(&self.plan.to) {
            format!("→ {}", self.plan.to)
        } else {
            format!("{from} → {}", self.plan.to)
        }
    }

    /// `2 hops, 15 nodes, about 214 pods to move`.
    fn summary(&self) -> String {
        let (hops, nodes) = (plural(self.plan.hops.len(), "hop"), plural(self.nodes, "node"));
        match self.pods_to_move {
            0 => format!("{hops}, {nodes}, no pod has to move"),
            pods => format!("{hops}, {nodes}, about {} to move", plural(pods, "pod")),
        }
    }

    /// The page for a comment on a pull request. No text from a cluster can become a table, a tag or a mention.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        let plan = &self.plan;
        let _ = match (plan.is_empty(), plan.blockers.is_empty()) {
            (true, true) => writeln!(out, "### `{}` runs {}: nothing to do", plan.cluster, plan.to),
            (_, false) => writeln!(out, "### `{}` {}: blocked", plan.cluster, self.way()),
            (false, true) => writeln!(out, "### `{}` {}", plan.cluster, self.way()),
        };
        markdown_reasons(&mut out, "Cannot be done as it stands", &plan.blockers);
        if !plan.is_empty() {
            let heads = "| hop | what | nodes | how |\n|---|---|---:|---|";
            let _ = writeln!(out, "\n{}\n\n{heads}", self.summary());
            for (hop, rows) in self.hops() {
                for (number, row) in rows.iter().enumerate() {
                    let hop =
                        if number == 0 { format!("{} → {}", hop.from, hop.to) } else { String::new() };
                    let nodes = if row.nodes == 0 { String::new() } else { row.nodes.to_string() };
                    let _ =
                        writeln!(out, "| {hop} | {} | {nodes} | {} |", escaped(&row.what), escaped(&row.how));
                }
            }
        }
        markdown_reasons(&mut out, &format!("{} to know of", plural(plan.risks.len(), "risk")), &plan.risks);
        for script in &self.scripts {
            let _ = writeln!(out, "\n<details><summary>{}</summary>\n", escaped(&script.title));
            for line in script.text.lines() {
                // A script cannot end a block of indented code.
                let _ = writeln!(out, "    {}", plain(line));
            }
            let _ = writeln!(out, "\n</details>");
        }
        let _ = writeln!(out, "\nDigest `{}`", plan.digest);
        out
    }
}

impl Page for PlanPage {
    fn text(&self) -> String {
        let mut out = String::new();
        let plan = &self.plan;
        if plan.is_empty() && plan.blockers.is_empty() {
            let _ = writeln!(out, "{}  {}  nothing to do", plan.cluster, plan.to);
        } else {
            let _ = writeln!(out, "{}  {}", plan.cluster, self.way());
        }
        if !plan.is_empty() {
            let _ = writeln!(out, "{}", self.summary());
        }
        let hops = self.hops();
        let all = hops.iter().flat_map(|(_, rows)| rows);
        let widest = all.map(|row| row.what.chars().count()).max().unwrap_or(0);
        for (number, (hop, rows)) in hops.iter().enumerate() {
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
        for script in &self.scripts {
            let _ = writeln!(out, "\nscript  {}", plain(&script.title));
            for line in script.text.lines() {
                let _ = writeln!(out, "  {}", plain(line));
            }
        }
        let _ = writeln!(out, "\ndigest  {}", plan.digest);
        out
    }
}

fn rows_of(plan: &Plan, stage: &Stage) -> Vec<PlanRow> {
    let row = |what: &str, nodes: usize, how: String| PlanRow { what: what.to_owned(), nodes, how };
    let nodes = stage.steps.len();
    match stage.kind {
        StageKind::AwaitControlPlane => {
            let how = format!("not moved by Windlass, which waits until it runs {}", awaited(plan, stage));
            vec![row("control plane", 0, how)]
        }
        StageKind::ControlPlane => vec![row("control plane servers", nodes, "one at a time".to_owned())],
        StageKind::ControlPlaneKubelets => {
            let drained = drained(&stage.steps.iter().collect::<Vec<_>>());
            vec![row("control plane kubelets", nodes, format!("one at a time, {drained}"))]
        }
        StageKind::Workers => by_pool(stage)
            .into_iter()
            .map(|(pool, steps)| row(pool, steps.len(), worker_words(plan.pools.get(pool), &steps)))
            .collect(),
    }
}

/// On the way, any patch of the minor will do.
fn awaited(plan: &Plan, stage: &Stage) -> String {
    if stage.to == plan.to { stage.to.to_string() } else { stage.to.minor_name() }
}

/// The steps by pool, in the order in which the pools have their turn.
fn by_pool(stage: &Stage) -> Vec<(&str, Vec<&Step>)> {
    let mut pools: Vec<(&str, Vec<&Step>)> = Vec::new();
    for step in &stage.steps {
        match pools.iter_mut().find(|(pool, _)| *pool == step.pool) {
            Some((_, steps)) => steps.push(step),
            None => pools.push((&step.pool, vec![step])),
        }
    }
    pools
}

fn worker_words(limits: Option<&Pool>, steps: &[&Step]) -> String {
    let canaries = steps.iter().filter(|step| step.canary).count();
    let limits = limits.map(|limits| limit_words(limits, canaries));
    limits.into_iter().chain([drained(steps).to_owned()]).collect::<Vec<_>>().join("; ")
}

fn limit_words(limits: &Pool, canaries: usize) -> String {
    let mut words = format!("at most {} at once", limits.max_unavailable);
    if let Some(zone) = limits.max_unavailable_per_zone {
        let _ = write!(words, ", {zone} per zone");
    }
    if canaries > 0 {
        let _ = write!(words, "; {canaries} first as canary");
        if limits.soak_seconds > 0 {
            let soak = SignedDuration::from_secs(limits.soak_seconds);
            let _ = write!(words, ", then {} of soak", written(soak));
        }
    }
    words
}

fn drained(steps: &[&Step]) -> &'static str {
    match steps.iter().filter(|step| step.drain).count() {
        0 => "not drained",
        some if some == steps.len() => "drained first",
        _ => "some drained first",
    }
}

fn reasons(out: &mut String, title: &str, reasons: &[Reason]) {
    if reasons.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}");
    // A long name shifts only its own line.
    let widths = reasons.iter().map(|reason| reason.object.chars().count());
    let width = widths.filter(|width| *width <= 40).max().unwrap_or(0);
    for reason in reasons {
        let (object, text, key) = (plain(&reason.object), plain(&reason.text), reason.key.as_str());
        let _ = writeln!(out, "  {object:width$}  {text}  [{key}]");
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

/// Text from a cluster for Markdown, with everything escaped that would become a table, a tag, a link or a mention.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '|' | '[' | ']' | '\\' | '*' | '_' => out.extend(['\\', c]),
            // An invisible character keeps a name from becoming a mention.
            '@' => out.push_str("@\u{200b}"),
            other => out.push(other),
        }
    }
    out
}
