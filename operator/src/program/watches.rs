//! What is watched of one namespace, or of all: each type in a task of its own, which sends what is to be reconciled.
//!
//! Not by kube's `Controller`: it puts all watches behind one backoff, so that while one of them waits none is read; connections that the others are
//! making time out meanwhile and make it wait again. After an API server's restart nothing was reconciled for minutes
//! (<https://github.com/stackabletech/trino-operator/issues/936>; `e2e/tests/outages.rs` shows it). Its other half, the applier, is kube's own.
//!
//! Guarantee: a watch that fails is begun again, ever more slowly, whatever the others do. Failure mode: as long as it fails, changes of that type are
//! noticed by the next look of the reconcile, within a minute.

use std::fmt::Debug;
use std::pin::pin;

use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{WatchStreamExt as _, watcher::Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::names::made_selector;
use crate::reconcile::watched::Guarded;

/// References that wait to be taken up; a watch that has more waits with them.
const WAITING: usize = 1_024;
/// So many objects are asked for at a time when a watch begins: an answer is in memory as a whole.
const PAGE: u32 = 100;

/// What watches tell, and their tasks, which run as long as they are kept.
pub(super) struct Watches {
    /// The resources, as far as their watch got.
    pub(super) store: Store<Guarded>,
    /// Resources that changed themselves, or one of whose objects did.
    pub(super) touched: mpsc::Receiver<ObjectRef<Guarded>>,
    /// Each ends with this.
    pub(super) tasks: JoinSet<()>,
}

impl Watches {
    /// Begins to watch one namespace, or all.
    pub(super) fn begin(client: &Client, namespace: Option<&str>) -> Self {
        let (sender, touched) = mpsc::channel(WAITING);
        let (store, mut writer) = store();
        let mut tasks = JoinSet::new();
        let settings = watcher::Config::default().page_size(PAGE);
        let resources = watcher(api::<Guarded>(client, namespace), settings);
        // Who set which field is most of an object in memory, and nobody here asks for it.
        let resources = resources.default_backoff().modify(|resource| resource.managed_fields_mut().clear());
        let resources = resources.inspect(move |event| {
            if let Ok(event) = event {
                writer.apply_watcher_event(event);
            }
        });
        let own = |resource: &Guarded| Some(ObjectRef::from_obj(resource));
        tasks.spawn(follow("MedicalImageIndex", resources, own, sender.clone()));
        let mut children = Children { client, namespace, sender, tasks };
        children.watch::<Deployment>();
        children.watch::<StatefulSet>();
        children.watch::<Job>();
        children.watch::<Service>();
        children.watch::<ConfigMap>();
        children.watch::<ServiceAccount>();
        children.watch::<NetworkPolicy>();
        children.watch::<PodDisruptionBudget>();
        children.watch::<Ingress>();
        children.watch::<HorizontalPodAutoscaler>();
        Self { store, touched, tasks: children.tasks }
    }
}

/// Watches of the objects that the operator makes.
struct Children<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
    sender: mpsc::Sender<ObjectRef<Guarded>>,
    tasks: JoinSet<()>,
}

impl Children<'_> {
    /// Only what tells whose they are is asked for: the reconcile reads the rest.
    fn watch<K>(&mut self)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + 'static,
    {
        let made = watcher::Config::default().labels(&made_selector()).page_size(PAGE);
        let objects = watcher(api::<PartialObjectMeta<K>>(self.client, self.namespace), made);
        let work = follow(K::kind(&()).into_owned(), objects.default_backoff(), owner, self.sender.clone());
        self.tasks.spawn(work);
    }
}

/// The resource that an object belongs to.
fn owner<K>(object: &PartialObjectMeta<K>) -> Option<ObjectRef<Guarded>>
where
    K: Resource<DynamicType = ()>,
{
    let namespace = object.metadata.namespace.as_deref();
    let owners = object.metadata.owner_references.iter().flatten();
    owners.into_iter().find_map(|owner| ObjectRef::from_owner_ref(namespace, owner, ()))
}

/// Sends what a watch tells of, until nobody takes it any more.
async fn follow<K>(
    kind: impl AsRef<str>,
    events: impl futures::Stream<Item = watcher::Result<Event<K>>>,
    whose: impl Fn(&K) -> Option<ObjectRef<Guarded>>,
    sender: mpsc::Sender<ObjectRef<Guarded>>,
) {
    let mut touched = pin!(events.touched_objects());
    while let Some(outcome) = touched.next().await {
        match outcome {
            Ok(object) => {
                if let Some(reference) = whose(&object)
                    && sender.send(reference).await.is_err()
                {
                    return;
                }
            }
            Err(error) => tracing::warn!(kind = kind.as_ref(), %error, "a watch broke and is begun again"),
        }
    }
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}
