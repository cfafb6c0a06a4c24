//! The only module that reads the time: from the machine, or from a virtual clock that a test or a demo drives.
//!
//! There are two times. [`Clock::now`] is for lengths of time and for the record: it never goes back, it does not jump
//! when the machine's time of day is set, and it counts the time that the machine sleeps. [`Clock::wall`] is the
//! machine's time of day, for calendars alone. Both are equal until somebody sets the time of day.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Where the time comes from. The virtual clock serves tests (tokio's paused time, speed 1) and the demo (running
/// time, speed N) with one formula.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The time of day when this clock was made, and what has passed since.
    Machine { origin: Timestamp, booted: SignedDuration },
    /// `ahead` is by how many seconds the time of day was set forward since `origin`; `taken` of them are taken over.
    Virtual { origin: Timestamp, started: Instant, speed: u32, ahead: Arc<AtomicI64>, taken: i64 },
}

/// How long this machine has been up, its sleep included.
fn since_boot() -> SignedDuration {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    SignedDuration::new(boot.tv_sec, i32::try_from(boot.tv_nsec).unwrap_or(0))
}

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn machine() -> Self {
        Self::Machine { origin: Timestamp::now(), booted: since_boot() }
    }

    /// A clock that shows `origin` now and runs `speed` times as fast as tokio's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn starting_at(origin: Timestamp, speed: u32) -> Self {
        Self::Virtual {
            origin,
            started: Instant::now(),
            speed: speed.max(1),
            ahead: Arc::default(),
            taken: 0,
        }
    }

    /// This clock with its time set to the time of day.
    #[must_use]
    pub fn set(&self) -> Self {
        match self {
            Self::Machine { .. } => Self::machine(),
            Self::Virtual { origin, started, speed, ahead, .. } => Self::Virtual {
                origin: *origin,
                started: *started,
                speed: *speed,
                ahead: Arc::clone(ahead),
                taken: ahead.load(Ordering::SeqCst),
            },
        }
    }

    pub fn now(&self) -> Timestamp {
        match self {
            Self::Machine { origin, booted } => {
                origin.saturating_add(since_boot() - *booted).unwrap_or(Timestamp::MAX)
            }
            Self::Virtual { origin, started, speed, taken, .. } => {
                let passed =
                    SignedDuration::try_from(started.elapsed() * *speed).unwrap_or(SignedDuration::MAX);
                let passed = passed.saturating_add(SignedDuration::from_secs(*taken));
                origin.saturating_add(passed).unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// The time of day. It jumps when somebody sets it.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn wall(&self) -> Timestamp {
        match self {
            Self::Machine { .. } => Timestamp::now(),
            Self::Virtual { ahead, taken, .. } => {
                let ahead = SignedDuration::from_secs(ahead.load(Ordering::SeqCst) - taken);
                self.now().saturating_add(ahead).unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// Sets the time of day of a virtual clock to so much ahead of its time; the machine's clock stays as it is.
    pub fn set_ahead(&self, by: SignedDuration) {
        if let Self::Virtual { ahead, .. } = self {
            ahead.store(by.as_secs(), Ordering::SeqCst);
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
            Self::Machine { .. } => tokio::time::sleep(left).await,
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
