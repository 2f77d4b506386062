//! Instruments of the lease. Label values are closed sets, present at 0 from the start; what depends on time is judged
//! when it is read, so a process woken from a long stop does not report a lease that has passed on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter},
};
use tokio::sync::watch;

use crate::{
    claim::{LeaseState, Observation, Role},
    clock::Clock,
    lease_protocol::Reply,
};

/// From a command on loopback to the time-out of an attempt under a long lease.
const RENEW_SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// From a released lease taken by message to one found free by timer.
const HANDOVER_SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];

/// A closed set of label values.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            const ALL: &[Self] = &[$(Self::$variant),*];

            /// The label's value.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

labels! {
    /// What a bid came to.
    AcquireResult {
        /// Won.
        Granted = "granted",
        /// Another one holds it.
        Held = "held",
        /// Nobody new is let in.
        Quarantined = "quarantined",
        /// Sent again with the epoch that was learned.
        Stale = "stale",
        /// No answer.
        Error = "error",
    }
}

labels! {
    /// What a renewal came to.
    RenewalResult {
        /// Held on.
        Renewed = "renewed",
        /// Taken back in after a loss of data.
        Reclaimed = "reclaimed",
        /// Over.
        Lost = "lost",
        /// No verdict.
        TooLate = "too_late",
        /// No answer.
        Error = "error",
    }
}

labels! {
    /// Why the role changed.
    Transition {
        /// Won.
        Acquired = "acquired",
        /// Given up at a graceful stop.
        Released = "released",
        /// Another one holds it.
        Lost = "lost",
        /// Not renewed in time.
        Expired = "expired",
        /// Given up on a wish.
        Resigned = "resigned",
        /// Given up since no query succeeded.
        GaveUp = "gave_up",
    }
}

labels! {
    /// What woke a standby.
    WakeupSource {
        /// The time that the store had told.
        Timer = "timer",
        /// A message: the lease is free.
        Released = "released",
        /// A message: somebody new holds it.
        Granted = "granted",
        /// The subscription stands anew, or messages were lost.
        Subscribed = "subscribed",
    }
}

/// What is counted of the lease.
#[derive(Clone)]
pub struct LeaseMetrics {
    meter: Meter,
    acquires: Counter<u64>,
    renewals: Counter<u64>,
    renew_seconds: Histogram<f64>,
    transitions: Counter<u64>,
    wakeups: Counter<u64>,
    handover_seconds: Histogram<f64>,
    fenced_publications: Counter<u64>,
    reclaims: Counter<u64>,
    quarantines: Counter<u64>,
    /// End of the quarantine last counted, by the store's clock.
    quarantine_end: Arc<AtomicI64>,
}

// === impl AcquireResult ===

impl AcquireResult {
    /// The result of a bid; `None` is no answer.
    pub fn of(reply: Option<Reply>) -> Self {
        match reply {
            Some(Reply::Granted { .. }) => Self::Granted,
            Some(Reply::Held { .. }) => Self::Held,
            Some(Reply::Quarantined { .. }) => Self::Quarantined,
            Some(Reply::Stale { .. }) => Self::Stale,
            _ => Self::Error,
        }
    }
}

// === impl RenewalResult ===

impl RenewalResult {
    /// The result of a renewal; `None` is no answer.
    pub fn of(reply: Option<Reply>) -> Self {
        match reply {
            Some(Reply::Renewed { .. }) => Self::Renewed,
            Some(Reply::Reclaimed { .. }) => Self::Reclaimed,
            Some(Reply::Lost { .. }) => Self::Lost,
            Some(Reply::TooLate) => Self::TooLate,
            _ => Self::Error,
        }
    }
}

// === impl LeaseMetrics ===

impl LeaseMetrics {
    /// The instruments, all known label sets at 0.
    pub fn new(meter: &Meter) -> Self {
        let counter = |name, description| {
            meter.u64_counter(format!("rowcount_lease_{name}_total")).with_description(description).build()
        };
        let histogram = |name, description, boundaries: &[f64]| {
            meter
                .f64_histogram(format!("rowcount_lease_{name}"))
                .with_description(description)
                .with_boundaries(boundaries.to_vec())
                .build()
        };
        let metrics = Self {
            meter: meter.clone(),
            acquires: counter("acquire", "Bids for the lease, by what they came to."),
            renewals: counter("renewals", "Renewals of the lease, by what they came to."),
            renew_seconds: histogram(
                "renew_duration_seconds",
                "How long renewals of the lease took, failed ones included.",
                &RENEW_SECONDS,
            ),
            transitions: counter("transitions", "How often this instance won or left the lease, by reason."),
            wakeups: counter("wakeups", "What woke this instance while it stood by."),
            handover_seconds: histogram(
                "handover_seconds",
                "Time from hearing that the lease is free to holding it.",
                &HANDOVER_SECONDS,
            ),
            fenced_publications: counter("fenced_publications", "Publications that the board refused."),
            reclaims: counter("reclaims", "Claims taken back in after the lease store had lost them."),
            quarantines: counter("quarantines", "Times in which the lease store let nobody new in."),
            quarantine_end: Arc::default(),
        };
        AcquireResult::ALL.iter().for_each(|result| metrics.acquires.add(0, &label("result", result.as_str())));
        RenewalResult::ALL.iter().for_each(|result| metrics.renewals.add(0, &label("result", result.as_str())));
        Transition::ALL.iter().for_each(|reason| metrics.transitions.add(0, &label("reason", reason.as_str())));
        WakeupSource::ALL.iter().for_each(|source| metrics.wakeups.add(0, &label("source", source.as_str())));
        for counter in [&metrics.fenced_publications, &metrics.reclaims, &metrics.quarantines] {
            counter.add(0, &[]);
        }
        metrics
    }

    /// Registers the gauges that are read off the role and the observation; `observed` judges it at that moment.
    pub fn watch(
        &self,
        role: watch::Receiver<Role>,
        observed: impl Fn() -> Option<Observation> + Send + Sync + 'static,
        clock: Arc<dyn Clock>,
    ) {
        self.watch_observation(Arc::new(observed));
        let (held_role, held_clock) = (role.clone(), clock.clone());
        self.meter
            .i64_observable_gauge("rowcount_lease_held")
            .with_description("Whether this instance holds the lease, by its own clock.")
            .with_callback(move |gauge| {
                gauge.observe(held_role.borrow().current_claim(held_clock.now()).is_some().into(), &[]);
            })
            .build();
        self.meter
            .f64_observable_gauge("rowcount_lease_deadline_timestamp_seconds")
            .with_description(
                "Until when this instance may publish unless it renews; absent unless it holds the lease.",
            )
            .with_callback(move |gauge| {
                let now = clock.now();
                if let Some(claim) = role.borrow().current_claim(now) {
                    let at = SystemTime::now() + claim.deadline.saturating_since(now);
                    gauge.observe(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(), &[]);
                }
            })
            .build();
    }

    fn watch_observation(&self, observed: Arc<dyn Fn() -> Option<Observation> + Send + Sync>) {
        let seen = observed.clone();
        self.meter
            .i64_observable_gauge("rowcount_lease_epoch")
            .with_description("Epoch of the lease as last observed.")
            .with_callback(move |gauge| gauge.observe(seen().map_or(0, |seen| seen.epoch), &[]))
            .build();
        let seen = observed.clone();
        self.meter
            .i64_observable_gauge("rowcount_lease_state")
            .with_description("1 for the state of the lease as this instance knows it, 0 for the others.")
            .with_callback(move |gauge| {
                let now = seen().map_or(LeaseState::Unknown, |seen| seen.state);
                for state in LeaseState::ALL {
                    gauge.observe((state == now).into(), &label("state", state.as_str()));
                }
            })
            .build();
        let seen = observed.clone();
        self.meter
            .f64_observable_gauge("rowcount_lease_quarantine_remaining_seconds")
            .with_description("Time until the lease store lets new holders in; 0 when it does.")
            .with_callback(move |gauge| {
                gauge.observe(seen().map_or(0.0, |seen| seen.quarantine_remaining.as_secs_f64()), &[]);
            })
            .build();
        self.meter
            .f64_observable_gauge("rowcount_lease_observed_timestamp_seconds")
            .with_description("When the lease store last answered; absent before the first time.")
            .with_callback(move |gauge| {
                if let Some(seen) = observed() {
                    let at = seen.observe_time.duration_since(UNIX_EPOCH).unwrap_or_default();
                    gauge.observe(at.as_secs_f64(), &[]);
                }
            })
            .build();
    }

    /// A bid was answered, or was not.
    pub fn acquire(&self, result: AcquireResult) {
        self.acquires.add(1, &label("result", result.as_str()));
    }

    /// A renewal was answered, or was not.
    pub fn renewal(&self, result: RenewalResult, took: Duration) {
        self.renewals.add(1, &label("result", result.as_str()));
        self.renew_seconds.record(took.as_secs_f64(), &[]);
        if result == RenewalResult::Reclaimed {
            self.reclaims.add(1, &[]);
        }
    }

    /// The role changed.
    pub fn transition(&self, reason: Transition) {
        self.transitions.add(1, &label("reason", reason.as_str()));
    }

    /// A standby woke.
    pub fn wakeup(&self, source: WakeupSource) {
        self.wakeups.add(1, &label("source", source.as_str()));
    }

    /// The lease was won this long after it was heard to be free.
    pub fn handover(&self, took: Duration) {
        self.handover_seconds.record(took.as_secs_f64(), &[]);
    }

    /// The board refused a publication.
    pub fn fenced(&self) {
        self.fenced_publications.add(1, &[]);
    }

    /// The store lets nobody new in until `end_us`, by its clock; the same quarantine counts once.
    pub fn quarantined(&self, end_us: i64) {
        if self.quarantine_end.swap(end_us, Ordering::Relaxed) != end_us {
            self.quarantines.add(1, &[]);
        }
    }
}

fn label(key: &'static str, value: &'static str) -> [KeyValue; 1] {
    [KeyValue::new(key, value)]
}
