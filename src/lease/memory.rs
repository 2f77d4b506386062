//! The lease of a fleet of one: always within reach.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    config::LeaseConfig,
    lease::{Backend, Error, survey::Server},
    lease_protocol::{Answer, Command, Rules},
    memory_store::MemoryStore,
};

/// The lease in this process's memory.
pub struct MemoryBackend {
    store: Arc<MemoryStore>,
    rules: Rules,
}

// === impl MemoryBackend ===

impl MemoryBackend {
    /// The lease in `store`. Nobody can have held it before, so there is no past to wait for.
    pub fn new(store: Arc<MemoryStore>, config: &LeaseConfig) -> Self {
        Self { store, rules: Rules { immediate: true, ..Rules::from(config) } }
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    async fn ask(&self, command: &Command, _timeout: Duration) -> Result<Answer, Error> {
        Ok(self.store.run(self.rules, command))
    }

    async fn is_alone(&self, _timeout: Duration) -> Result<bool, Error> {
        Ok(true)
    }

    async fn server(&self, _timeout: Duration) -> Result<Option<Server>, Error> {
        Ok(None)
    }
}
