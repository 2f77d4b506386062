//! How another server takes the place of the one that has the board.

use super::Crew;
use crate::chaos::fault::FailOver;

// === impl Crew ===

impl Crew<'_> {
    /// Lets a replica become the master, and waits until it is. Whoever was the master becomes its replica.
    pub(super) async fn fail_over(&mut self, how: FailOver, holder: usize) {
        match how {
            FailOver::Asked => self.store.ask_for_fail_over().await,
            FailOver::Killed => self.store.master_mut().kill().await.expect("the master is killed"),
            FailOver::LastWritesLost => {
                self.store.cut_off_replicas().await;
                if self.rng.bool() {
                    // So that a grant is among what is lost.
                    self.resign(holder).await;
                }
                let lost = self.rng.f64();
                self.wait(lost).await;
                self.store.master_mut().kill().await.expect("the master is killed");
            }
        }
        let old = self.store.failed_over().await;
        if how != FailOver::Asked {
            old.restart().await.expect("the old master starts");
        }
        self.has_master();
    }

    /// Says which server that is to whoever watches it.
    pub(super) fn has_master(&self) {
        let master = self.store.master().url();
        self.url.send_if_modified(|url| {
            let is_new = *url != master;
            *url = master;
            is_new
        });
    }
}
