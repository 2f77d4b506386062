//! Whose turn it is to observe: one at a time.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// At most one is taken.
#[derive(Clone, Default)]
pub struct Turn {
    /// When the one that is taken should be over. Never locked across an await.
    until: Arc<Mutex<Option<Instant>>>,
}

/// A turn that is taken; dropping it gives it back.
pub struct Taken(Turn);

// === impl Turn ===

impl Turn {
    /// Takes the turn for about `span`; where another has it, how long it will be.
    pub fn take(&self, span: Duration) -> Result<Taken, Duration> {
        let mut until = self.until();
        match *until {
            Some(until) => Err(until.saturating_duration_since(Instant::now())),
            None => {
                *until = Some(Instant::now() + span);
                Ok(Taken(self.clone()))
            }
        }
    }

    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.until.lock().expect("nobody panics while holding it")
    }
}

// === impl Taken ===

impl Drop for Taken {
    fn drop(&mut self) {
        *self.0.until() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_free_again_when_whoever_took_it_is_gone() {
        let turn = Turn::default();
        let taken = turn.take(Duration::from_secs(60)).ok().unwrap();
        let left = turn.clone().take(Duration::from_secs(1)).err().unwrap();
        assert!(left > Duration::from_secs(59), "{left:?}");
        drop(taken);
        assert!(turn.take(Duration::from_secs(1)).is_ok());
    }
}
