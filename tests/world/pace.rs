//! A git host that takes its time for a push, and allows few of them.

use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use windlass::clock::Clock;
use windlass::serve::{Ask, Journal};

/// How slow the host is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// How long a push takes.
    pub push: SignedDuration,
    /// How long after the beginning of one push the next one may begin.
    pub apart: SignedDuration,
}

/// The journal of a process, with the host between it and its writer.
pub fn journal(writer: Journal, pace: Pace, clock: Clock) -> Journal {
    if pace == Pace::default() {
        return writer;
    }
    let (asks_in, mut asks) = mpsc::channel(256);
    let journal = Journal { asks: asks_in, trouble: writer.trouble.clone() };
    tokio::spawn(async move {
        let mut next = Timestamp::MIN;
        while let Some(ask) = asks.recv().await {
            if matches!(ask, Ask::Append(..)) {
                clock.sleep_until(next).await;
                next = clock.now().saturating_add(pace.apart).unwrap();
                clock.sleep(pace.push).await;
            }
            writer.asks.send(ask).await.unwrap();
        }
    });
    journal
}
