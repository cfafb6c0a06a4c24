//! The file of a frozen plan, `plan.yaml`: its kind, and the plan with its hops counted from one.

use super::status_types::API_VERSION;
use super::yaml::{self, YamlError};
use crate::model::plan::Plan;

fn head() -> String {
    format!("apiVersion: {API_VERSION}\nkind: Plan\n")
}

pub(super) fn write_plan(plan: &Plan) -> Result<String, YamlError> {
    let mut shown = plan.clone();
    shown.stages.iter_mut().for_each(|stage| stage.hop += 1);
    Ok(head() + &yaml::write(&shown)?)
}

/// Reads the file. One without a kind is from before there was one, and counts its hops from zero.
pub(super) fn read_plan(text: &str) -> Result<Plan, YamlError> {
    let Some(shown) = text.strip_prefix(&head()) else { return yaml::typed(text) };
    // The lines of an error are those of the whole file.
    let mut plan: Plan = yaml::typed(&format!("\n\n{shown}"))?;
    for stage in &mut plan.stages {
        let hop = stage.hop.checked_sub(1);
        stage.hop = hop.ok_or_else(|| YamlError::Malformed("hops are counted from one".to_owned()))?;
    }
    Ok(plan)
}
