//! Network deadlines, which libgit2 keeps once for the whole process.

use std::sync::Once;
use std::time::Duration;

static SET: Once = Once::new();

/// Bounds how long a silent server is waited for. The first call decides; without it, for ever.
#[expect(
    unsafe_code,
    reason = "libgit2 reads these two numbers without a lock; `Once` writes them before the first \
              connection of the process and never again, so no read can meet the write"
)]
pub(super) fn set_once(timeout: Duration) {
    let millis = i32::try_from(timeout.as_millis().max(1)).unwrap_or(i32::MAX);
    // SAFETY: every network call of this module comes after this function has returned, and
    // `call_once` lets all callers wait for the one that writes.
    SET.call_once(|| unsafe {
        // Neither call can fail for a positive number.
        let _ = git2::opts::set_server_connect_timeout_in_milliseconds(millis);
        let _ = git2::opts::set_server_timeout_in_milliseconds(millis);
    });
}
