//! Every task of the service by name. None may end before it is told to: one that does ends the process, which beats a
//! process that looks healthy and does nothing.

use std::{collections::HashMap, future::Future, time::Duration};

use tokio::task::{Id, JoinSet};
use tracing::warn;

/// The running tasks.
#[derive(Default)]
pub struct Tasks {
    set: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, &'static str>,
}

// === impl Tasks ===

impl Tasks {
    /// Starts a task.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        // In no span: one that lasts as long as the process would make one trace of all that ever happens.
        let handle = self.set.spawn(task);
        self.names.insert(handle.id(), name);
    }

    /// Waits for the next task that ends; never returns while all run.
    pub async fn next_end(&mut self) -> anyhow::Error {
        let (id, outcome) = match self.set.join_next_with_id().await {
            Some(Ok((id, Ok(())))) => (id, anyhow::anyhow!("it ended")),
            Some(Ok((id, Err(error)))) => (id, error),
            Some(Err(error)) => (error.id(), error.into()),
            None => return std::future::pending().await,
        };
        outcome.context(format!("task {} ended early", self.name(id)))
    }

    /// Waits for `name` to end, at most this long; then it is aborted.
    pub async fn finish(&mut self, names: &[&'static str], bound: Duration) {
        let all = async {
            while self.names.values().any(|name| names.contains(name)) {
                let Some(ended) = self.set.join_next_with_id().await else { return };
                let id = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, _)| *id);
                let name = self.names.remove(&id).unwrap_or("unnamed");
                match ended {
                    Ok((_, Ok(()))) => {}
                    Ok((_, Err(error))) => warn!(task = name, error = format!("{error:#}"), "Task failed"),
                    Err(error) => warn!(task = name, %error, "Task failed"),
                }
            }
        };
        if tokio::time::timeout(bound, all).await.is_err() {
            let late: Vec<_> = self.names.values().filter(|name| names.contains(*name)).copied().collect();
            warn!(tasks = late.join(","), "Tasks did not end in time");
        }
    }

    fn name(&self, id: Id) -> &'static str {
        self.names.get(&id).copied().unwrap_or("unnamed")
    }
}
