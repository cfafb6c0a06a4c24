//! What people type: one file per subcommand.

pub mod history;
pub mod plan;
pub mod status;
pub mod validate;
pub mod windows;
