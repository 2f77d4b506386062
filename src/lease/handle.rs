//! The process's side of the lease task: what it is, and what may be asked of it.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    claim::{LeaseState, Observation, Role},
    clock::Clock,
    lease::{Backend, Wish, view::View},
    lease_protocol::Command,
};

/// The longest that `status` waits for the store.
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);

/// A cheap clone of the way to the lease task.
#[derive(Clone)]
pub struct LeaseHandle {
    view: Arc<View>,
    wishes: mpsc::Sender<Wish>,
    backend: Arc<dyn Backend>,
    clock: Arc<dyn Clock>,
}

// === impl LeaseHandle ===

impl LeaseHandle {
    pub(super) fn new(
        view: Arc<View>,
        wishes: mpsc::Sender<Wish>,
        backend: Arc<dyn Backend>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { view, wishes, backend, clock }
    }

    /// What this instance does; ask `Role::current_claim` at the moment of the effect.
    pub fn role(&self) -> Role {
        self.view.role().borrow().clone()
    }

    /// The role and its changes; a renewal is one.
    pub fn subscribe(&self) -> watch::Receiver<Role> {
        self.view.role()
    }

    /// The last observation and its changes; `None` until the store was first heard.
    pub fn observation(&self) -> watch::Receiver<Option<Observation>> {
        self.view.observation()
    }

    /// The last observation, when it is no older than `max_staleness`; else the store's answer now. With the store out
    /// of reach: UNKNOWN, with the last observation.
    pub async fn status(&self, max_staleness: Option<Duration>) -> Observation {
        let sent = self.clock.now();
        if let (Some((last, age)), Some(max)) = (self.view.last(sent), max_staleness)
            && age <= max
            && last.clone().after(age).state != LeaseState::Unknown
        {
            return last;
        }
        match self.backend.ask(&Command::Status, STATUS_TIMEOUT).await {
            Ok(answer) => self.view.heard(&answer.standing, sent, self.clock.now()),
            Err(error) => self.view.failed(&error),
        }
        self.view.observation().borrow().clone().unwrap_or_else(Observation::unknown)
    }

    /// Why the store last did not answer; `None` when it did.
    pub fn last_error(&self) -> Option<String> {
        self.view.last_error()
    }

    /// How often this instance won the lease.
    pub fn acquire_count(&self) -> i64 {
        self.view.acquires()
    }

    /// Renews at once, as the holder does when the board refused its write; returns when that was tried.
    pub async fn renew_now(&self) {
        let (tried, wait) = oneshot::channel();
        self.wish(Wish::Renew(tried), wait).await;
    }

    /// Lets another instance try, when there is one: releases and does not compete for the length of a lease.
    pub async fn give_up(&self) {
        let role = self.role();
        let Some(claim) = role.current_claim(self.clock.now()) else { return };
        // A task that has ended holds nothing to give up.
        let _ = self.wishes.send(Wish::GiveUp(claim.grant.epoch)).await;
    }

    /// Releases for good, once the holder has stopped working; the instance observes from then on. Takes at most the
    /// time of three attempts.
    pub async fn release(&self) {
        let (done, wait) = oneshot::channel();
        self.wish(Wish::Release(done), wait).await;
    }

    async fn wish(&self, wish: Wish, done: oneshot::Receiver<()>) {
        if self.wishes.send(wish).await.is_ok() {
            // The task answers by dropping its end, also when it ends itself.
            let _ = done.await;
        }
    }
}
