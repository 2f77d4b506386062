//! Logs to stderr, and traces over OTLP when an endpoint is set. Only builds them and hands out a guard that flushes.
//! What must stay true: neither a slow nor a missing collector of traces holds up or stops the service.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Subscriber};
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, Targets, filter_fn},
    fmt::MakeWriter,
    layer::SubscriberExt,
};

use crate::config::{LogConfig, TracingConfig};

pub use otlp::parent_from;

mod line;
mod otlp;

/// The longest that the last spans may take to leave; the process then exits without them.
pub const FLUSH_TIMEOUT: Duration = Duration::from_millis(250);

/// Why there are no logs or traces.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint, or one of the OTEL_ variables, cannot be used.
    #[error("tracing.endpoint or an OTEL_EXPORTER_OTLP_ variable cannot be used: give it as http://host:4317")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The process has a subscriber already.
    #[error("logs are already set up in this process")]
    AlreadySet(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Who logs and traces.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// `instanceid`.
    pub instance_id: &'a str,
    /// `cluster`.
    pub cluster: &'a str,
}

/// Sends the spans that are left when it is shut down or dropped, within `FLUSH_TIMEOUT`.
#[must_use = "dropping it ends the export of traces"]
#[derive(Debug)]
pub struct Guard {
    /// `None`: traces are off.
    provider: Option<SdkTracerProvider>,
}

/// Sets up logs and traces of the whole process. `colour` is what the user wants; a file or a pipe gets none anyway.
/// Must be called in a Tokio runtime when traces are on.
pub fn init(log: &LogConfig, tracing: &TracingConfig, identity: Identity<'_>, colour: bool) -> Result<Guard, Error> {
    let colour = colour && io::stderr().is_terminal();
    let (subscriber, guard) = subscriber(log, tracing, identity, colour, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(guard)
}

/// What `init` sets up, writing its lines to `writer`.
pub fn subscriber<W>(
    log: &LogConfig,
    tracing: &TracingConfig,
    identity: Identity<'_>,
    colour: bool,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + use<W>, Guard), Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let provider = otlp::provider(tracing, identity)?;
    let spans = provider.as_ref().map(|provider| {
        // The exporter's own calls must not be traced: each export would beget another.
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("rowcount"))
            .with_filter(Targets::new().with_target("rowcount", Level::DEBUG))
    });
    let levels = Targets::new().with_default(log.level.min(Level::WARN)).with_target("rowcount", log.level);
    let lines = tracing_subscriber::fmt::layer()
        .event_format(line::Lines::new(log.formatter, colour))
        .with_writer(writer)
        // Lines show no spans: without traces, nobody has to keep them.
        .with_filter(levels.and(filter_fn(|meta| meta.is_event()).with_max_level_hint(log.level)));
    Ok((tracing_subscriber::registry().with(spans).with(lines), Guard { provider }))
}

// === impl Guard ===

impl Guard {
    /// Sends the spans that are left.
    pub async fn shutdown(mut self) {
        let Some(provider) = self.provider.take() else { return };
        // It waits for a thread of its own, which needs the runtime to send.
        let flush = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT));
        // Bounded here too: names that are being looked up may hold every thread that blocks.
        match tokio::time::timeout(FLUSH_TIMEOUT, flush).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(%error, "The last spans did not leave"),
            Ok(Err(_)) | Err(_) => tracing::warn!("The last spans did not leave in time"),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider {
            let _ = provider.shutdown_with_timeout(FLUSH_TIMEOUT);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };

    use serde_json::{Value, json};

    use super::*;
    use crate::config::LogFormatter;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(formatter: LogFormatter, colour: bool, events: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = LogConfig { level: Level::INFO, formatter, collected: Level::DEBUG };
        let identity = Identity { instance_id: "alice", cluster: "default" };
        let (subscriber, _guard) =
            subscriber(&log, &TracingConfig { endpoint: None }, identity, colour, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, events);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_json_line_is_flat_with_the_fields_of_the_first_design() {
        let lines = logged(LogFormatter::Json, false, || {
            let span = tracing::info_span!("collector", epoch = 7);
            span.in_scope(|| {
                tracing::info!(query_name = %"tags", count = 184, "database row count metric collected");
            });
        });
        let [line] = lines.as_slice() else { panic!("one line, not {lines:?}") };
        let line: Value = serde_json::from_str(line).unwrap();
        let time = line["time"].as_str().unwrap();
        assert!(humantime::parse_rfc3339(time).is_ok() && time.len() == "2026-01-01T00:00:00.000Z".len(), "{time}");
        assert_eq!(
            line,
            json!({"level": "info", "time": time, "msg": "database row count metric collected",
                "query_name": "tags", "count": 184})
        );
    }

    #[test]
    fn dotted_and_reserved_names_stay_apart_from_the_three_of_every_line() {
        let lines = logged(LogFormatter::Json, false, || tracing::warn!(table.name = "tags", level = 3, "slow"));
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(
            (&line["level"], &line["table_name"], &line["field_level"]),
            (&json!("warn"), &json!("tags"), &json!(3))
        );
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let error = Error::Exporter(opentelemetry_otlp::ExporterBuildError::InternalFailure("no runtime".to_owned()));
        let lines =
            logged(LogFormatter::Json, false, || tracing::error!(error = &error as &dyn std::error::Error, "failed"));
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        let told = line["error"].as_str().unwrap();
        assert!(told.starts_with("tracing.endpoint") && told.ends_with("no runtime"), "{told}");
    }

    #[test]
    fn nothing_from_outside_breaks_a_line_of_text() {
        let lines = logged(LogFormatter::Text, false, || {
            tracing::info!(detail = "two\nlines", plain = "x", "a\n\x1b[31mmessage");
        });
        let [line] = lines.as_slice() else { panic!("one line, not {lines:?}") };
        assert!(line.ends_with(r#"  INFO a  [31mmessage detail="two\nlines" plain=x"#), "{line}");
    }

    #[test]
    fn colour_is_there_only_when_wanted() {
        let has_escapes = |colour| logged(LogFormatter::Text, colour, || tracing::info!("m"))[0].contains('\x1b');
        assert!(has_escapes(true));
        assert!(!has_escapes(false));
    }

    #[test]
    fn dependencies_are_heard_from_warn_on_and_the_exporter_once_a_minute() {
        let lines = logged(LogFormatter::Json, false, || {
            tracing::info!(target: "h2", "chatter");
            tracing::warn!(target: "h2", "trouble");
            for _ in 0..3 {
                tracing::error!(target: "opentelemetry_sdk", name = "BatchSpanProcessor.ExportError", "");
            }
            tracing::debug!("detail");
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
    }
}
