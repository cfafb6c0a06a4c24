//! Log lines: one a line on stderr, as text for people or as JSON for programs. Stdout belongs to the output of the
//! command.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, Subscriber as Lines};
use tracing_subscriber::registry::LookupSpan;
use windlass::clock::Clock;
use windlass::config::LogFormat;

/// Starts logging what passes the filter.
pub fn begin(filter: &str, format: LogFormat, colours: bool) {
    let lines = Lines::builder().with_env_filter(EnvFilter::new(filter)).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            lines.with_ansi(colours).with_target(false).with_timer(LogTime).compact().init();
        }
        LogFormat::Json => lines.with_ansi(false).event_format(JsonLine).init(),
    }
}

/// A log time to the second, `2026-11-24T22:03:07Z`, to compare with a window or a commit.
struct LogTime;

impl FormatTime for LogTime {
    fn format_time(&self, line: &mut Writer<'_>) -> fmt::Result {
        write!(line, "{}", now())
    }
}

fn now() -> String {
    Clock::machine().now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `{"time":"…","level":"ERROR","message":"…","cluster":"prod-eu","key":"jobFailed"}`.
struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = LineFields(Map::new());
        fields.0.insert("time".to_owned(), now().into());
        fields.0.insert("level".to_owned(), event.metadata().level().as_str().into());
        event.record(&mut fields);
        writeln!(line, "{}", Value::Object(fields.0))
    }
}

/// The fields of one line by name; numbers and truth values stay what they are.
struct LineFields(Map<String, Value>);

impl LineFields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for LineFields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}
