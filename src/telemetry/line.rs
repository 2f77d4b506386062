//! The lines of the log: flat JSON with `level`, `time`, `msg` and the event's own fields, or the same for people.
//! Spans add nothing, so a line has the same fields wherever it comes from.

use std::{
    error, fmt, iter,
    sync::Mutex,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::config::LogFormatter;

/// The exporter of traces complains at every batch that fails, every five seconds; once in this time says it all.
const EXPORTER_PAUSE: Duration = Duration::from_secs(60);

/// Writes one event as one line.
pub struct Lines {
    formatter: LogFormatter,
    /// Of text only.
    colour: bool,
    /// When the exporter of traces last had a line.
    exporter_line: Mutex<Option<Instant>>,
}

/// An event's message and fields, in their order.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(String, Value)>,
}

// === impl Lines ===

impl Lines {
    /// Lines of this form.
    pub fn new(formatter: LogFormatter, colour: bool) -> Self {
        Self { formatter, colour, exporter_line: Mutex::new(None) }
    }

    fn is_repetition(&self, target: &str) -> bool {
        if !target.starts_with("opentelemetry") {
            return false;
        }
        let Ok(mut last) = self.exporter_line.lock() else { return true };
        if last.is_some_and(|last| last.elapsed() < EXPORTER_PAUSE) {
            return true;
        }
        *last = Some(Instant::now());
        false
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let meta = event.metadata();
        if self.is_repetition(meta.target()) {
            return Ok(());
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        if fields.message.is_empty() {
            meta.name().clone_into(&mut fields.message);
        }
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        match self.formatter {
            LogFormatter::Json => write_json(&mut writer, meta.level(), time, &fields),
            LogFormatter::Text => write_text(&mut writer, self.colour, meta.level(), time, &fields),
        }
    }
}

// === impl Fields ===

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(message)) => self.message = message,
            (name, value) => self.rest.push((flat(name), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn error::Error + 'static)) {
        let chain = iter::successors(Some(value), |error| error.source()).map(ToString::to_string);
        self.push(field, chain.collect::<Vec<_>>().join(": ").into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // A whole number has no fraction, as in the registry's log: `"interval_s":10`.
        let is_whole = value.fract() == 0.0 && value.abs() < 1e15;
        self.push(field, if is_whole { (value as i64).into() } else { value.into() });
    }
}

/// A field's name in snake_case, and never one of the three that every line has.
fn flat(name: &str) -> String {
    match name {
        "level" | "time" | "msg" => format!("field_{name}"),
        _ => name.replace(['.', '-'], "_"),
    }
}

fn write_json(writer: &mut Writer<'_>, level: &Level, time: impl fmt::Display, fields: &Fields) -> fmt::Result {
    let level = level.as_str().to_ascii_lowercase();
    let message = Value::from(fields.message.as_str());
    write!(writer, r#"{{"level":"{level}","time":"{time}","msg":{message}"#)?;
    for (name, value) in &fields.rest {
        write!(writer, r#","{name}":{value}"#)?;
    }
    writeln!(writer, "}}")
}

fn write_text(
    writer: &mut Writer<'_>,
    colour: bool,
    level: &Level,
    time: impl fmt::Display,
    fields: &Fields,
) -> fmt::Result {
    if colour {
        write!(writer, "\x1b[2m{time}\x1b[0m \x1b[{}m{level:>5}\x1b[0m ", colour_code(level))?;
    } else {
        write!(writer, "{time} {level:>5} ")?;
    }
    // Nothing that came from outside breaks a line or colours a terminal.
    fields
        .message
        .chars()
        .try_for_each(|c| if c.is_control() { write!(writer, " ") } else { write!(writer, "{c}") })?;
    for (name, value) in &fields.rest {
        match value {
            Value::String(text) if is_plain(text) => write!(writer, " {name}={text}")?,
            // JSON's escapes leave DEL and C1 as they are; Rust's do not.
            Value::String(text) => write!(writer, " {name}={text:?}")?,
            value => write!(writer, " {name}={value}")?,
        }
    }
    writeln!(writer)
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '='))
}

fn colour_code(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}
