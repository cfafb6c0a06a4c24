//! How long to rest before an outside call is tried again.

use jiff::SignedDuration;
use tokio::sync::watch;

use crate::clock::Clock;

/// The first and the longest rest: an API server that is being replaced is back within a minute.
const FIRST: SignedDuration = SignedDuration::from_secs(2);
const LONGEST: SignedDuration = SignedDuration::from_secs(30);

/// The rest before the next try; it gets longer each time.
pub(super) struct Rest(SignedDuration);

impl Rest {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    /// Rests. Returns at once when the process is asked to end.
    pub(super) async fn take(&mut self, clock: &Clock, ending: &mut watch::Receiver<bool>) {
        tokio::select! {
            biased;
            _ = ending.wait_for(|ending| *ending) => {}
            () = clock.sleep(self.0) => {}
        }
        self.0 = self.0.saturating_mul(2).min(LONGEST);
    }
}
