//! Has the ports use what their files hold now: at a change, and at SIGHUP. What cannot be used changes nothing.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    credentials::{Contents, Credentials, Fault, Fingerprint, Sources},
    metrics::reload::ReloadMetrics,
};

/// How often the files are read: they are a few kilobytes. So what Kubernetes mounted anew, or somebody copied there,
/// needs no signal.
const LOOK: Duration = Duration::from_secs(2);

/// Reads the files again.
pub struct Reloader {
    sources: Sources,
    hangup: Signal,
    /// What is in use; handshakes and calls take it from there.
    credentials: watch::Sender<Arc<Credentials>>,
    /// What was tried last, also when it could not be used: nothing is tried twice by itself.
    tried: Fingerprint,
    /// What the last look saw.
    seen: Fingerprint,
}

// === impl Reloader ===

impl Reloader {
    /// With the credentials that hold until the first change. From this call on SIGHUP no longer ends the process.
    pub fn new(sources: Sources, credentials: Credentials) -> io::Result<Self> {
        let made_of = credentials.made_of;
        let credentials = watch::Sender::new(Arc::new(credentials));
        Ok(Self { sources, hangup: signal(SignalKind::hangup())?, credentials, tried: made_of, seen: made_of })
    }

    /// What is in use.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Credentials>> {
        self.credentials.subscribe()
    }

    /// Reads them again until `stop`.
    pub async fn run(mut self, metrics: ReloadMetrics, stop: CancellationToken) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_asked = tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = self.hangup.recv() => true,
                _ = look.tick(), if !self.sources.is_empty() => false,
            };
            if let Some(contents) = self.look(is_asked).await {
                self.reload(&contents, &metrics);
            }
        }
    }

    /// What the files hold, when that is to be tried. A change is, when two looks in a row see the same: a file that is
    /// half written, and one of two that go together, are waited for.
    async fn look(&mut self, is_asked: bool) -> Option<Contents> {
        let sources = self.sources.clone();
        let contents = tokio::task::spawn_blocking(move || sources.read()).await.ok()?;
        let now = contents.fingerprint();
        let is_settled = std::mem::replace(&mut self.seen, now) == now;
        let is_wanted = is_asked || (is_settled && self.tried != now);
        if is_wanted {
            self.tried = now;
        }
        is_wanted.then_some(contents)
    }

    fn reload(&self, contents: &Contents, metrics: &ReloadMetrics) {
        match Credentials::new(&self.sources, contents) {
            Ok(credentials) => {
                credentials.warnings.iter().for_each(|warning| warn!("{warning}"));
                self.credentials.send_replace(Arc::new(credentials));
                metrics.loaded();
                info!("Certificates, keys and tokens were loaded anew");
            }
            Err(faults) => {
                for Fault { setting, message } in faults {
                    error!(setting, error = message, "Not loaded anew; what was loaded before stays in use");
                }
                metrics.failed();
            }
        }
    }
}
