//! SIGTERM or SIGINT asks the process to stop; a second one ends it at once, whatever hangs, with the exit code that a
//! shell gives to a process which died of that signal: 143 or 130.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// A token that the first signal cancels. From this call on, signals no longer end the process by themselves.
pub fn on_signal() -> io::Result<CancellationToken> {
    let mut signals = Signals::install()?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        signals.first(&token).await;
        std::process::exit(signals.next().await.1);
    });
    Ok(stop)
}

// === impl Signals ===

impl Signals {
    fn install() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn first(&mut self, stop: &CancellationToken) {
        let (signal, _) = self.next().await;
        tracing::info!(signal, "stopping; a second signal ends the process at once");
        stop.cancel();
    }

    /// Name of the next signal, and the exit code for it.
    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", 128 + SignalKind::terminate().as_raw_value()),
            _ = self.interrupt.recv() => ("SIGINT", 128 + SignalKind::interrupt().as_raw_value()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn the_first_signal_cancels_and_the_second_has_its_exit_code() {
        let mut signals = Signals::install().unwrap();
        let stop = CancellationToken::new();
        kill_process(getpid(), Signal::TERM).unwrap();
        tokio::time::timeout(Duration::from_secs(5), signals.first(&stop)).await.unwrap();
        assert!(stop.is_cancelled());
        kill_process(getpid(), Signal::INT).unwrap();
        let second = tokio::time::timeout(Duration::from_secs(5), signals.next()).await.unwrap();
        assert_eq!(second, ("SIGINT", 130));
    }
}
