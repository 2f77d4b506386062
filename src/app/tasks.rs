//! Every task of the service by name. None may end before it is told to: one that does ends the process, which beats a
//! process that looks healthy and does nothing.

use std::{collections::HashMap, future::Future, time::Duration};

use tokio::task::{AbortHandle, Id, JoinSet};
use tracing::warn;

/// The running tasks.
#[derive(Default)]
pub struct Tasks {
    set: JoinSet<anyhow::Result<()>>,
    /// Those that have not been seen to end.
    running: HashMap<Id, (&'static str, AbortHandle)>,
}

// === impl Tasks ===

impl Tasks {
    /// Starts a task.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        // In no span: one that lasts as long as the process would make one trace of all that ever happens.
        let handle = self.set.spawn(task);
        self.running.insert(handle.id(), (name, handle));
    }

    /// Waits for the next task that ends; never returns while all run.
    pub async fn next_end(&mut self) -> anyhow::Error {
        let (id, outcome) = match self.set.join_next_with_id().await {
            Some(Ok((id, Ok(())))) => (id, anyhow::anyhow!("it ended")),
            Some(Ok((id, Err(error)))) => (id, error),
            Some(Err(error)) => (error.id(), error.into()),
            None => return std::future::pending().await,
        };
        outcome.context(format!("task {} ended early", self.ended(id)))
    }

    /// Waits for `names` to end, at most this long; those that have not are aborted.
    pub async fn finish(&mut self, names: &[&'static str], bound: Duration) {
        let all = async {
            while self.running.values().any(|(name, _)| names.contains(name)) {
                let Some(ended) = self.set.join_next_with_id().await else { return };
                let name = self.ended(ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, _)| *id));
                match ended {
                    Ok((_, Ok(()))) => {}
                    // Aborted as late, and told so.
                    Err(error) if error.is_cancelled() => {}
                    Ok((_, Err(error))) => warn!(task = name, error = format!("{error:#}"), "Task failed"),
                    Err(error) => warn!(task = name, %error, "Task failed"),
                }
            }
        };
        if tokio::time::timeout(bound, all).await.is_err() {
            let late = self.running.values().filter(|(name, _)| names.contains(name));
            let late: Vec<_> = late.inspect(|(_, task)| task.abort()).map(|(name, _)| *name).collect();
            warn!(tasks = late.join(","), "Tasks did not end in time");
        }
    }

    fn ended(&mut self, id: Id) -> &'static str {
        self.running.remove(&id).map_or("unnamed", |(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_late_task_is_dropped_and_nobody_waits_for_one_that_ended_early() {
        let mut tasks = Tasks::default();
        let (held, dropped) = oneshot::channel::<()>();
        tasks.spawn("early", async { Ok(()) });
        tasks.spawn("late", async move {
            let _held = held;
            std::future::pending().await
        });
        assert_eq!(tasks.next_end().await.to_string(), "task early ended early");
        let began = tokio::time::Instant::now();
        tasks.finish(&["early"], Duration::from_secs(1)).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        tasks.finish(&["late"], Duration::from_secs(1)).await;
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        dropped.await.unwrap_err();
    }
}
