//! Explains YAML syntax errors in plain words: common mistakes, each with what to do about it.

use serde_saphyr::granit_parser::{ErrorKind, ScanError};

use super::problem::{Place, Problems};
use super::tree::{point, small};

/// Reports what the YAML reader found, in plain words.
pub(super) fn tell(first: u32, chunk: &str, depth: usize, error: &ScanError, problems: &mut Problems<'_>) {
    let place = point(first, error.marker());
    let row = chunk.split('\n').nth(error.marker().line().saturating_sub(1)).unwrap_or("");
    if let Some((line, _)) = chunk.split('\n').enumerate().find(|(_, row)| row.starts_with("<<<<<<< ")) {
        let place =
            Place { line: small(line).saturating_add(first).saturating_add(1), column: 1, width: u32::MAX };
        problems.push_fix(place, "an unresolved merge conflict", "keep one of the two sides");
        return;
    }
    if row.split(|c: char| !c.is_whitespace()).next().is_some_and(|indent| indent.contains('\t')) {
        let column = small(row.chars().take_while(|c| *c != '\t').count()).saturating_add(1);
        let place = Place { column, ..place };
        problems.push_fix(place, "a tab in the indentation", "indent with spaces; YAML allows nothing else");
        return;
    }
    if let ErrorKind::MismatchedFlowCollectionEnd { open, close } = error.kind() {
        problems.push(place, format_args!("this `{open}` is closed by a `{close}`"));
        return;
    }
    if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
        let text = format_args!("lists and maps are nested deeper than {depth} levels");
        problems.push_fix(
            place,
            text,
            "nothing here needs as many: look for a mistake of the program that wrote it",
        );
        return;
    }
    match explained(error.kind()) {
        Some((message, fix)) => problems.push_fix(place, message, fix),
        None => problems.push(place, format_args!("this is not YAML: {}", error.kind())),
    }
}

/// Reports a file that SOPS has encrypted. To mend its values by hand would break its signature as well.
pub(super) fn is_encrypted(first: u32, chunk: &str, problems: &mut Problems<'_>) -> bool {
    let encrypted = chunk.contains("ENC[AES256_GCM,") && chunk.lines().any(|line| line.starts_with("sops:"));
    if encrypted {
        problems.push_fix(
            Place { line: first.saturating_add(1), column: 1, width: u32::MAX },
            "this file is encrypted with SOPS, and Windlass decrypts nothing",
            "commit it as plain text, by a rule in .sops.yaml that leaves it out: versions and windows are no secrets",
        );
    }
    encrypted
}

/// Reports a file whose content lies in Git LFS: the repository has only a note of where it is.
pub(super) fn is_lfs_pointer(first: u32, chunk: &str, problems: &mut Problems<'_>) -> bool {
    let pointer = chunk.starts_with("version https://git-lfs.github.com/spec/");
    if pointer {
        let place = Place { line: first.saturating_add(1), column: 1, width: u32::MAX };
        problems.push_fix(
            place,
            "this is a pointer of Git LFS, not the file: Windlass reads what git itself stores",
            "take the file out of LFS: remove its pattern from .gitattributes, and run `git add --renormalize .`",
        );
    }
    pointer
}

/// The message and the fix for common mistakes; `None` for others, which are reported in the reader's own words.
fn explained(kind: &ErrorKind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        ErrorKind::UnclosedQuotedScalar | ErrorKind::DocumentIndicatorInQuotedScalar => {
            ("a quote is opened and never closed", "close it on the same line")
        }
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator => (
            "a `[` or `{` is not closed before here, or a comma is missing",
            "close it, or put a `,` between the items",
        ),
        ErrorKind::MisplacedFlowCollectionEnd => {
            ("a bracket is closed that was not opened", "remove it, or open it")
        }
        ErrorKind::MappingValueNotAllowed => (
            "a `:` where no key can be",
            "look at this line and the one above: a `:` is missing, the indentation differs, or text that holds `: ` needs quotes",
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => (
            "a key without its `:` here or in the line above",
            "write `key: value`, with a space after the colon",
        ),
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation => {
            ("the indentation fits no line above", "give the keys of one map the same indentation")
        }
        ErrorKind::ExpectedBlockSequenceEntry | ErrorKind::BlockSequenceEntryNotAllowed => (
            "a list item or key that does not line up with its neighbours",
            "give all items of a list the same indentation",
        ),
        ErrorKind::UnexpectedCharacter { .. } => {
            ("a character that cannot begin a value", "put the value into quotes")
        }
        ErrorKind::UnknownQuotedScalarEscape => (
            "an unknown `\\` escape inside double quotes",
            "use single quotes, or write `\\\\` for a backslash",
        ),
        ErrorKind::DirectiveDisallowed => ("lines that begin with `%` are not read here", "remove the line"),
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar
        | ErrorKind::TabAtBlockScalarStart => ("a tab where YAML allows none", "use spaces"),
        _ => return None,
    })
}
