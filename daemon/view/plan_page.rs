//! A plan for people: on a terminal, and as Markdown for a comment on a pull request. One page to read at a glance,
//! with nothing that the data does not have.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::SignedDuration;

use super::Page;
use super::addons::{AddonChange, difference};
use super::ink::{Ink, Tone};
use super::plan::{Fact, Hop, Plan, PlanPage, Pool, Stage, StageKind, Step};
use crate::model::decision::{Answer, Reason, Verdict};
use crate::model::group::{grouped, objects_words, said_of};
use crate::model::text::{length, list, minute, plain, plural, written};

/// How many nodes of a row are named; JSON has all.
const NAMED: usize = 20;

/// What one stage does in one scope.
struct PlanRow {
    what: String,
    nodes: usize,
    how: String,
    /// The nodes in their order.
    names: Vec<String>,
}

impl PlanPage {
    /// Every hop with its rows. The addons of a plan that moves nothing else are in no hop.
    fn hops(&self) -> Vec<(Option<&Hop>, Vec<PlanRow>)> {
        let rows = |number: usize| {
            let stages = self.plan.stages.iter().filter(move |stage| stage.hop == number + 1);
            stages.flat_map(|stage| rows_of(self, stage)).collect()
        };
        let hops = self.plan.hops.iter().enumerate().map(|(number, hop)| (Some(hop), rows(number)));
        let mut hops: Vec<_> = hops.collect();
        if hops.is_empty() && !self.plan.is_empty() {
            hops.push((None, rows(0)));
        }
        hops
    }

    /// `v1.34.2 → v1.36.3`, from the oldest version. If the control plane is done already, that is a kubelet's.
    fn way(&self) -> String {
        // Addons alone move.
        if self.plan.hops.is_empty() && !self.plan.is_empty() {
            return self.plan.to.to_string();
        }
        let from = self.plan.hops.first().map_or(&self.plan.from, |hop| &hop.from);
        if from.is_as(&self.plan.to) {
            format!("→ {}", self.plan.to)
        } else {
            format!("{from} → {}", self.plan.to)
        }
    }

    /// `addon cilium`; of an addon that moves more than once also the version to which it goes.
    fn title(&self, addon: &AddonChange) -> String {
        let several = self.addons.iter().filter(|other| other.name == addon.name).nth(1).is_some();
        let to = if several { format!(" to {}", addon.to) } else { String::new() };
        format!("addon {}{to}", addon.name)
    }

    /// `2 hops, 15 nodes, about 214 pods to move, 2 addons`.
    fn summary(&self) -> String {
        let names: BTreeSet<&str> = self.addons.iter().map(|addon| addon.name.as_str()).collect();
        let addons = plural(names.len(), "addon");
        match (self.addons.is_empty(), self.plan.hops.is_empty()) {
            (true, _) => self.nodes_summary(),
            (false, true) => addons,
            (false, false) => format!("{}, {addons}", self.nodes_summary()),
        }
    }

    fn nodes_summary(&self) -> String {
        let hops = plural(self.plan.hops.len(), "hop");
        let left_out = self.forecast.as_ref().map_or(0, |forecast| forecast.left_out.len());
        let nodes = match left_out {
            0 => plural(self.nodes, "node"),
            _ => format!("{} of {}", self.nodes.saturating_sub(left_out), plural(self.nodes, "node")),
        };
        match self.pods_to_move {
            0 => format!("{hops}, {nodes}, no pod has to move"),
            pods => format!("{hops}, {nodes}, about {} to move", plural(pods, "pod")),
        }
    }

    /// When it could begin, how long it takes, and what its Jobs run.
    fn foreseen_lines(&self) -> Vec<(&'static str, String)> {
        let Some(forecast) = &self.forecast else { return Vec::new() };
        let objects: Vec<&Answer> =
            forecast.calendar.iter().filter(|answer| answer.verdict != Verdict::Allow).collect();
        let when = match objects.as_slice() {
            [] => forecast.calendar.first().map_or_else(
                || "now, as far as windows and freezes go".to_owned(),
                |answer| format!("now: {}", answer.reason.text),
            ),
            some => {
                let next: Option<Vec<_>> = some.iter().map(|answer| answer.next).collect();
                let next = next.and_then(|all| all.into_iter().max());
                let next = next.map_or_else(
                    || "not before a person acts".to_owned(),
                    |at| format!("not before {}", minute(at)),
                );
                let why: Vec<&str> = some.iter().map(|answer| answer.reason.text.as_str()).collect();
                format!("{next}: {}", why.join("; "))
            }
        };
        let takes = length(SignedDuration::from_secs(forecast.estimated_seconds));
        let image = self.plan.kubeadm.image.as_deref().unwrap_or("none is named").to_owned();
        let at_least = forecast.lower_bound.iter().map(|bound| {
            let least = length(SignedDuration::from_secs(bound.seconds));
            let text = format!(
                "{least} for the workers, if pods need their grace periods: {} ({})",
                bound.text, bound.object
            );
            ("at least", text)
        });
        let takes = format!("about {takes}, an estimate without waits for windows and budgets");
        [("when", when), ("takes", takes)].into_iter().chain(at_least).chain([("image", image)]).collect()
    }

    /// Why each node would be left out.
    fn left_out(&self) -> Vec<Reason> {
        let nodes = self.forecast.iter().flat_map(|forecast| &forecast.left_out);
        nodes.flat_map(|left| left.reasons.clone()).collect()
    }

    /// The risks, without what the nodes that are left out say already.
    fn risks(&self) -> Vec<Reason> {
        let left_out = self.left_out();
        let told = |risk: &Reason| {
            left_out.iter().any(|reason| (reason.key, &reason.object) == (risk.key, &risk.object))
        };
        self.plan.risks.iter().filter(|risk| !told(risk)).cloned().collect()
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
                    let hop = hop.filter(|_| number == 0);
                    let hop = hop.map_or_else(String::new, |hop| format!("{} → {}", hop.from, hop.to));
                    let nodes = if row.nodes == 0 { String::new() } else { row.nodes.to_string() };
                    let order = if row.names.is_empty() { "" } else { "; in this order: " };
                    let how = format!("{}{order}{}", row.how, list(&row.names, NAMED));
                    let _ = writeln!(out, "| {hop} | {} | {nodes} | {} |", escaped(&row.what), escaped(&how));
                }
            }
        }
        for addon in &self.addons {
            let _ = writeln!(out, "\n<details><summary>{}</summary>\n", escaped(&self.title(addon)));
            // Indented, so that nothing in it is read as Markdown.
            for line in difference(addon) {
                let _ = writeln!(out, "    {line}");
            }
            let _ = writeln!(out, "\n</details>");
        }
        if !plan.is_empty() {
            for (head, line) in self.foreseen_lines() {
                let _ = writeln!(out, "\n{head}: {}", escaped(&line));
            }
        }
        markdown_reasons(&mut out, "Left out until a person acts; the run stays open", &self.left_out());
        let risks = self.risks();
        markdown_reasons(&mut out, &format!("{} to know of", plural(risks.len(), "risk")), &risks);
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
    fn draw(&self, ink: Ink) -> String {
        let mut out = String::new();
        let plan = &self.plan;
        if plan.is_empty() && plan.blockers.is_empty() {
            let nothing = ink.paint(Tone::Good, "nothing to do");
            let _ = writeln!(out, "{}  {}  {nothing}", plan.cluster, plan.to);
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
            let head = hop.map_or_else(
                || "addons".to_owned(),
                |hop| format!("hop {}  {} → {}", number + 1, hop.from, hop.to),
            );
            let _ = writeln!(out, "\n{}", ink.paint(Tone::Title, &head));
            for row in rows {
                let _ = match row.nodes {
                    0 => writeln!(out, "  {:widest$}               {}", row.what, row.how),
                    1 => writeln!(out, "  {:widest$}      1 node   {}", row.what, row.how),
                    many => writeln!(out, "  {:widest$}  {many:>5} nodes  {}", row.what, row.how),
                };
                if !row.names.is_empty() {
                    let _ = writeln!(out, "    {}", list(&row.names, NAMED));
                }
            }
        }
        for addon in &self.addons {
            let _ = writeln!(out, "\n{}", ink.paint(Tone::Title, &plain(&self.title(addon))));
            for line in difference(addon) {
                let _ = writeln!(out, "  {line}");
            }
        }
        if !plan.is_empty() && self.forecast.is_some() {
            out.push('\n');
            for (head, line) in self.foreseen_lines() {
                let _ = writeln!(out, "{head:<6} {}", plain(&line));
            }
        }
        reasons(&mut out, &ink.paint(Tone::Bad, "blocked"), &plan.blockers);
        let left_out = ink.paint(Tone::Bad, "left out until a person acts; the run stays open");
        reasons(&mut out, &left_out, &self.left_out());
        reasons(&mut out, &ink.paint(Tone::Wait, "risks"), &self.risks());
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

fn rows_of(page: &PlanPage, stage: &Stage) -> Vec<PlanRow> {
    let plan = &page.plan;
    let row = |what: &str, steps: &[&Step], how: String| {
        let names = steps.iter().map(|step| step.node.clone()).filter(|node| !node.is_empty()).collect();
        PlanRow { what: what.to_owned(), nodes: steps.len(), how, names }
    };
    let all: Vec<&Step> = stage.steps.iter().collect();
    match stage.kind {
        StageKind::AwaitControlPlane => {
            let to = awaited(plan, stage);
            let how = format!(
                "not moved by Windlass, which waits until it runs {to}; if it is hosted, until every answer of 2 min says so"
            );
            vec![row("control plane", &[], how)]
        }
        StageKind::ControlPlane => {
            let how = if all.iter().any(|step| step.drain) {
                "one at a time, drained first"
            } else {
                "one at a time"
            };
            vec![row("control plane servers", &all, how.to_owned())]
        }
        StageKind::ControlPlaneKubelets => {
            let drained = drained(&all);
            vec![row("control plane kubelets", &all, format!("one at a time, {drained}"))]
        }
        StageKind::Checks => {
            all.iter().map(|step| row(&format!("check {}", step.pool), &[], step.check_words())).collect()
        }
        StageKind::AddonsBeforeControlPlane
        | StageKind::AddonsAfterControlPlane
        | StageKind::AddonsAfterNodes => {
            let addon = |step: &&Step| {
                let workload = step.achieves.iter().find_map(Fact::rolled_out);
                let objects = page.addons.iter().find(|addon| addon.name == step.pool && addon.to == step.to);
                let what = match (workload, objects) {
                    (Some(workload), _) => format!("in {workload}"),
                    (None, Some(addon)) => addon.diff.words(),
                    (None, None) => String::new(),
                };
                let how = format!("{} → {} {what}", step.from, step.to);
                row(&format!("addon {}", step.pool), &[], how)
            };
            all.iter().map(addon).collect()
        }
        StageKind::Workers => by_pool(stage)
            .into_iter()
            .map(|(pool, steps)| row(pool, &steps, worker_words(plan.pools.get(pool), &steps)))
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
    // Of two nodes or more the one that blocks least at that moment goes next; see `reconcile/next.rs`.
    let chosen =
        (steps.len() > canaries + 1).then(|| "the order of the others is chosen during the run".to_owned());
    limits.into_iter().chain([drained(steps).to_owned()]).chain(chosen).collect::<Vec<_>>().join("; ")
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
    let groups = grouped(reasons, |reason| (reason.key, &reason.text), |reason| reason.object.as_str());
    let words = |(reason, objects): (&Reason, Vec<&str>)| {
        (reason.key.as_str(), objects_words(&objects), plain(&said_of(&reason.text, &objects)))
    };
    let groups: Vec<(&str, String, String)> = groups.into_iter().map(words).collect();
    let widths = groups.iter().map(|(_, objects, _)| objects.chars().count());
    let width = widths.filter(|width| *width <= 40).max().unwrap_or(0);
    for (key, object, text) in groups {
        let _ = writeln!(out, "  {object:width$}  {text}  [{key}]");
    }
}

fn markdown_reasons(out: &mut String, title: &str, reasons: &[Reason]) {
    if reasons.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n**{title}**\n");
    for (reason, objects) in
        grouped(reasons, |reason| (reason.key, &reason.text), |reason| reason.object.as_str())
    {
        let text = escaped(&said_of(&reason.text, &objects));
        let object = objects_words(&objects).replace('`', "'");
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
