//! The objects of addons as the cluster had them before a run. The files are for people: nothing is ever applied from them.

use std::fmt::Write as _;

use super::files::WriteError;
use super::text::{one_line, second};
use super::{Run, layout, yaml};
use crate::model::evidence::{Evidence, ObjectBefore};

/// The largest file, in bytes.
const MOST_BYTES: usize = 1 << 20;

/// The path and content of the file about one addon.
pub fn evidence_file(
    cluster: &str,
    run: &Run,
    point: &str,
    evidence: &Evidence,
) -> Result<(String, Vec<u8>), WriteError> {
    let addon = &evidence.question.addon;
    let path = layout::evidence_path(cluster, point, addon);
    let mut head = format!(
        "# The objects of the addon {addon} as the cluster had them at {}, before run {}.\n\
         # They are evidence: Windlass applies nothing of this file.\n",
        second(evidence.read_at),
        run.id
    );
    let mut objects = String::new();
    for (object, before) in &evidence.objects {
        let told = match before {
            ObjectBefore::There(value) => {
                let text = yaml::write(value)
                    .map_err(|source| WriteError::Unwritable { path: path.clone(), source })?;
                if objects.len() + text.len() <= MOST_BYTES {
                    objects.push_str("---\n");
                    objects.push_str(&text);
                    continue;
                }
                "left out, because the file would be too large".to_owned()
            }
            ObjectBefore::Absent => "was not there".to_owned(),
            ObjectBefore::Secret => "left out, because it is a Secret".to_owned(),
            ObjectBefore::Unread(why) => format!("could not be read: {}", one_line(why)),
        };
        let _ = writeln!(head, "# {}: {told}", one_line(&object.to_string()));
    }
    Ok((path, (head + &objects).into_bytes()))
}
