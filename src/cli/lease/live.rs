//! What a terminal shows below the lines of `lease --watch`: the time that passes while nothing changes.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::text;
use crate::proto::v1::{Lease, lease::State};

const TICK: Duration = Duration::from_secs(1);

/// A line that is written anew each second; none where stderr is no terminal.
pub struct Live {
    bar: ProgressBar,
    told: Arc<Mutex<Option<Told>>>,
}

/// The lease and when it was told.
struct Told {
    lease: Lease,
    at: SystemTime,
}

// === impl Live ===

impl Live {
    /// Shows nothing yet.
    pub fn start() -> Self {
        let told = Arc::<Mutex<Option<Told>>>::default();
        let shown = told.clone();
        let line = move |_: &ProgressState, line: &mut dyn fmt::Write| {
            if let Some(told) = &*shown.lock().unwrap_or_else(PoisonError::into_inner) {
                // A line that cannot be written is not seen either.
                let _ = line.write_str(&told.line(SystemTime::now()));
            }
        };
        let style = ProgressStyle::with_template("{lease}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::new_spinner().with_style(style.with_key("lease", line));
        bar.enable_steady_tick(TICK);
        Self { bar, told }
    }

    /// Takes in a change; `print` writes its own line above.
    pub fn change<T>(&self, lease: &Lease, print: impl FnOnce() -> T) -> T {
        let told = Told { lease: lease.clone(), at: SystemTime::now() };
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        let printed = self.bar.suspend(print);
        self.bar.tick();
        printed
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

// === impl Told ===

impl Told {
    /// Spans of the other clock, and what has passed since by this one.
    fn line(&self, now: SystemTime) -> String {
        let lease = &self.lease;
        let passed = now.duration_since(self.at).unwrap_or_default();
        let state = text::word(lease.state().as_str_name(), "STATE_");
        let ago = |at| text::since(at, now).map(text::age).unwrap_or_else(|| text::NONE.to_owned());
        match lease.state() {
            State::Held => {
                format!("{state} by {} for {}", text::one_line(&lease.holder_id), ago(lease.acquire_time))
            }
            State::Quarantined => {
                let left = text::length(lease.quarantine_remaining_duration).unwrap_or_default();
                // Whole seconds: it is written anew with each.
                let left = Duration::from_secs(left.saturating_sub(passed).as_secs());
                format!("{state}, let in after {}", text::span(left))
            }
            State::Unknown => format!("{state}, last observed {} ago", ago(lease.observe_time)),
            State::Free | State::Unspecified => format!("{state} for {}", text::age(passed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn line(state: State, passed: u64) -> String {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let ago = |seconds: i64| Some(Timestamp { seconds: 1_700_000_000 - seconds, nanos: 0 });
        let lease = Lease {
            state: state.into(),
            holder_id: "alice".into(),
            acquire_time: ago(100),
            quarantine_remaining_duration: Some(prost_types::Duration { seconds: 9, nanos: 500_000_000 }),
            observe_time: ago(3),
            ..Lease::default()
        };
        Told { lease, at }.line(at + Duration::from_secs(passed))
    }

    #[test]
    fn time_passes_in_each_state() {
        assert_eq!([line(State::Held, 0), line(State::Held, 30)], ["held by alice for 1m", "held by alice for 2m"]);
        let quarantined = [0, 7, 60].map(|passed| line(State::Quarantined, passed));
        let left = ["9s", "2s", "0ms"].map(|left| format!("quarantined, let in after {left}"));
        assert_eq!(quarantined, left);
        assert_eq!(line(State::Unknown, 4), "unknown, last observed 7s ago");
        assert_eq!(line(State::Free, 5), "free for 5s");
    }
}
