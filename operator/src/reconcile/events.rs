//! Writes events, and counts those that come again.
//!
//! kube's recorder keeps every event that it wrote for minutes, so that one that comes again is counted on it: some kilobytes each, which a thousand
//! resources that are made at once turn into most of the operator's memory. Here it forgets them after so many. What comes again after that is an
//! event of its own, and nothing is lost.

use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, Recorder, Reporter};

/// So many events are known, at the most.
const KNOWN: usize = 256;

/// The writer of events.
pub struct Events {
    client: Client,
    reporter: Reporter,
    /// The recorder, and how many events it was given.
    current: Mutex<(Recorder, usize)>,
}

impl Events {
    /// Writes them as `reporter`.
    pub fn new(client: Client, reporter: Reporter) -> Self {
        let recorder = Recorder::new(client.clone(), reporter.clone());
        Self { client, reporter, current: Mutex::new((recorder, 0)) }
    }

    /// Writes one about an object.
    ///
    /// # Errors
    /// When the API server refuses or does not answer.
    pub(super) async fn publish(&self, event: &Event, about: &ObjectReference) -> kube::Result<()> {
        self.recorder().publish(event, about).await
    }

    fn recorder(&self) -> Recorder {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.1 == KNOWN {
            *current = (Recorder::new(self.client.clone(), self.reporter.clone()), 0);
        }
        current.1 += 1;
        current.0.clone()
    }
}
