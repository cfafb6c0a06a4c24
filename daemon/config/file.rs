//! Reads a settings file into what it may say, with the place of what is wrong in it. It does not know what is right.

use std::path::Path;

use super::Raw;

/// The largest settings file. A settings file is a page; a larger file is another file.
const LARGEST_FILE: u64 = 1 << 20;

pub(super) fn read_file(path: &Path) -> Result<Raw, String> {
    let shown = path.display();
    let size =
        std::fs::metadata(path).map_err(|error| format!("--config {shown} cannot be read: {error}"))?.len();
    if size > LARGEST_FILE {
        return Err(format!("--config {shown} has {size} bytes; a settings file has at most {LARGEST_FILE}"));
    }
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("--config {shown} cannot be read: {error}"))?;
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Raw::default());
    }
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options(&text, options).map_err(|error| {
        let place = error.location().map_or_else(String::new, |at| format!(":{}:{}", at.line(), at.column()));
        format!("{shown}{place}: {}", words(&error))
    })
}

/// What is wrong with the file, in our words where the YAML reader's message is about itself.
fn words(error: &serde_saphyr::Error) -> String {
    match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => format!("`{key}` is given twice"),
        serde_saphyr::Error::Unexpected { expected: "string scalar", .. } => "expected text".to_owned(),
        serde_saphyr::Error::Unexpected { expected: "mapping start", .. } => {
            "expected keys with values, as `key: value`".to_owned()
        }
        other => {
            let told = other.render_with_formatter(&serde_saphyr::UserMessageFormatter);
            let told = told.lines().next().unwrap_or_default();
            // The message begins with the place already.
            told.split_once(" at line ").map_or(told, |(told, _)| told).to_owned()
        }
    }
}
