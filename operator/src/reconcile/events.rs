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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use http::{Method, Request, Response};
    use kube::client::Body;
    use kube::runtime::events::EventType;

    use super::*;

    /// The methods of the calls that a writer makes for events of these actions.
    async fn calls(actions: impl Iterator<Item = usize>) -> Vec<Method> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let service = tower::service_fn(move |request: Request<Body>| {
            noted.lock().unwrap().push(request.method().clone());
            let event = r#"{"apiVersion":"events.k8s.io/v1","kind":"Event","metadata":{"name":"a"},"eventTime":null}"#;
            async move { Ok::<_, Infallible>(Response::new(Body::from(event.as_bytes().to_vec()))) }
        });
        let reporter = Reporter { controller: "test".to_owned(), instance: None };
        let events = Events::new(Client::new(service, "imaging"), reporter);
        let about = ObjectReference { name: Some("radiology".to_owned()), ..ObjectReference::default() };
        for action in actions {
            let event = Event {
                type_: EventType::Normal,
                reason: "ObjectWritten".to_owned(),
                note: None,
                action: format!("Created Service {action}"),
                secondary: None,
            };
            events.publish(&event, &about).await.unwrap();
        }
        seen.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn an_event_that_comes_again_is_counted_on_the_first() {
        assert_eq!(
            calls([1, 1, 2, 1].into_iter()).await,
            [Method::POST, Method::PATCH, Method::POST, Method::PATCH]
        );
    }

    #[tokio::test]
    async fn after_so_many_events_the_first_is_forgotten_and_written_anew() {
        let methods = calls((0..KNOWN).chain([0])).await;
        assert!(methods.iter().all(|method| *method == Method::POST), "{methods:?}");
    }
}
