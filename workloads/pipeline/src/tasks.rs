//! The background tasks of a process, each known by the name of its function, so that what does not end can be named.

use std::any::type_name;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

/// Background tasks. Cheap to clone; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    /// Names of those that have not ended.
    running: Arc<Mutex<Vec<&'static str>>>,
}

impl Tasks {
    /// Starts a task.
    pub(crate) fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: F) {
        let running = Running::note(name_of(type_name::<F>()), &self.running);
        self.tracker.spawn(async move {
            let _running = running;
            task.await;
        });
    }

    /// Waits until all have ended, those too that are started meanwhile.
    pub(crate) async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Names of those that have not ended.
    pub(crate) fn running(&self) -> Vec<&'static str> {
        let mut running = self.running.lock().clone();
        running.sort_unstable();
        running
    }
}

/// A task that has not ended; dropped with it, also when it panics or is cut off.
struct Running {
    name: &'static str,
    all: Arc<Mutex<Vec<&'static str>>>,
}

impl Running {
    fn note(name: &'static str, all: &Arc<Mutex<Vec<&'static str>>>) -> Self {
        all.lock().push(name);
        Self { name, all: Arc::clone(all) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        // Tasks of one name are as good as each other.
        if let Some(place) = all.iter().position(|name| *name == self.name) {
            all.swap_remove(place);
        }
    }
}

/// `follow::run` for the type of the future that this function of this crate returns.
fn name_of(future: &'static str) -> &'static str {
    let own = concat!(env!("CARGO_CRATE_NAME"), "::");
    future.trim_start_matches(own).trim_end_matches("::{{closure}}")
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    async fn wait(release: oneshot::Receiver<()>) {
        release.await.ok();
    }

    #[tokio::test]
    async fn a_task_has_the_name_of_its_function_until_it_ends() {
        let tasks = Tasks::default();
        let (first, released) = oneshot::channel();
        tasks.spawn(wait(released));
        let (second, released) = oneshot::channel();
        tasks.clone().spawn(wait(released));
        assert_eq!(tasks.running(), ["tasks::tests::wait", "tasks::tests::wait"]);
        drop(first);
        drop(second);
        tasks.ended().await;
        assert!(tasks.running().is_empty());
    }
}
