//! The only module that reads the time: from the real clock, or from a virtual clock that a test or a demo drives.

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Where the time comes from. The virtual clock serves tests (tokio's paused time, speed 1) and the demo (running
/// time, speed N) with one formula.
#[derive(Clone, Debug)]
pub enum Clock {
    Wall,
    Virtual { origin: Timestamp, started: Instant, speed: u32 },
}

impl Clock {
    /// A clock that shows `origin` now and runs `speed` times as fast as tokio's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn starting_at(origin: Timestamp, speed: u32) -> Self {
        Self::Virtual { origin, started: Instant::now(), speed: speed.max(1) }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Wall => Timestamp::now(),
            Self::Virtual { origin, started, speed } => {
                let passed =
                    SignedDuration::try_from(started.elapsed() * *speed).unwrap_or(SignedDuration::MAX);
                origin.saturating_add(passed).unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// Sleeps until the clock shows `when`. Returns at once if it already does.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub async fn sleep_until(&self, when: Timestamp) {
        let left = when.duration_since(self.now()).unsigned_abs();
        if when <= self.now() {
            return;
        }
        match self {
            Self::Wall => tokio::time::sleep(left).await,
            // Rounded up: a wake-up a moment too early would find nothing to do.
            Self::Virtual { speed, .. } => {
                tokio::time::sleep(left / *speed + std::time::Duration::from_nanos(1)).await;
            }
        }
    }

    pub async fn sleep(&self, length: SignedDuration) {
        self.sleep_until(self.now().saturating_add(length).unwrap_or(Timestamp::MAX)).await;
    }

    /// The functions `now` and `sleep` for code that imports nothing of ours, such as the simulator.
    pub fn functions(&self) -> (NowFn, SleepFn) {
        let (for_now, for_sleep) = (self.clone(), self.clone());
        (
            Arc::new(move || for_now.now()),
            Arc::new(move |when| {
                let clock = for_sleep.clone();
                Box::pin(async move { clock.sleep_until(when).await })
            }),
        )
    }
}

pub type NowFn = Arc<dyn Fn() -> Timestamp + Send + Sync>;
pub type SleepFn = Arc<dyn Fn(Timestamp) -> BoxFuture<'static, ()> + Send + Sync>;
