//! Logs of an index's pods, each line with the name of its pod.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use futures::StreamExt as _;
use futures::io::AsyncBufReadExt as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, LogParams};
use kube::{Api, ResourceExt as _};
use medindex_operator::names::{Component, index_labels, selector_text};
use medindex_operator::reconcile::call::bounded;
use tokio::sync::mpsc;

use crate::access::Access;
use crate::error::PluginError;

/// How often pods that are new are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Lines from before that --follow begins with.
const BEGIN_WITH: i64 = 10;
/// Lines that wait to be printed.
const WAITING_LINES: usize = 1_024;

/// Which logs, and how much of them.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Only of these workloads; of all when empty.
    pub components: Vec<Component>,
    /// Go on.
    pub follow: bool,
    /// Lines from the end.
    pub tail: Option<i64>,
    /// Only of the last so many seconds.
    pub since: Option<i64>,
    /// Of the containers before.
    pub previous: bool,
}

impl LogOptions {
    fn parameters(&self) -> LogParams {
        LogParams {
            follow: self.follow,
            previous: self.previous,
            since_seconds: self.since,
            tail_lines: self.tail.or_else(|| (self.follow && self.since.is_none()).then_some(BEGIN_WITH)),
            ..LogParams::default()
        }
    }
}

/// A pod whose log can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggingPod {
    /// Its name.
    pub name: String,
    /// It runs, so that more is to come.
    pub runs: bool,
}

/// Prints logs, one pod after the other, or of all as they come.
///
/// # Errors
/// [`PluginError`]; a pod whose log cannot be had is told of on standard error and passed over.
pub async fn logs(access: &Access, name: &str, options: LogOptions) -> Result<(), PluginError> {
    access.index(name).await?;
    if options.follow {
        return follow(access, name, &options).await;
    }
    let pods = pods(access, name, &options.components).await?;
    if pods.is_empty() {
        let advice =
            format!("no such pod of {name} has begun; kubectl medindex status {name} shows what it has");
        return Err(PluginError::Refuse(advice));
    }
    let api: Api<Pod> = Api::namespaced(access.client.clone(), &access.namespace);
    for LoggingPod { name: pod, .. } in pods {
        match bounded(api.logs(&pod, &options.parameters())).await {
            Ok(text) => print(text.lines().map(|line| format!("{pod} | {line}")))?,
            Err(error) => eprintln!("kubectl medindex: the log of {pod} cannot be had: {error}"),
        }
    }
    Ok(())
}

/// The pods of an index that have begun, by name.
///
/// # Errors
/// [`PluginError::Call`].
pub async fn pods(
    access: &Access,
    name: &str,
    components: &[Component],
) -> Result<Vec<LoggingPod>, PluginError> {
    let api: Api<Pod> = Api::namespaced(access.client.clone(), &access.namespace);
    let selector = selector_text(&index_labels(name));
    let listed = bounded(api.list(&ListParams::default().labels(&selector))).await;
    let listed = listed.map_err(PluginError::call(format!("listing the pods of {name}")))?;
    let is_wanted = |pod: &Pod| {
        let component = pod.labels().get("app.kubernetes.io/component");
        components.is_empty()
            || components.iter().any(|wanted| component.is_some_and(|found| found == wanted.name()))
    };
    let wanted = listed.items.iter().filter(|pod| is_wanted(pod)).filter_map(|pod| {
        let phase = pod.status.as_ref()?.phase.as_deref()?;
        (phase != "Pending").then(|| LoggingPod { name: pod.name_any(), runs: phase == "Running" })
    });
    let mut wanted: Vec<LoggingPod> = wanted.collect();
    wanted.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(wanted)
}

/// How far the log of a pod was followed.
enum Followed {
    /// It is.
    Now,
    /// It ended: the container did, or the connection.
    Until(Timestamp),
}

/// Prints what is logged until the user stops it. A pod or container that starts later is followed as well.
async fn follow(access: &Access, name: &str, options: &LogOptions) -> Result<(), PluginError> {
    let (sender, mut lines) = mpsc::channel::<String>(WAITING_LINES);
    let (ended_sender, mut ended) = mpsc::unbounded_channel::<String>();
    let mut followed: BTreeMap<String, Followed> = BTreeMap::new();
    let mut is_first_look = true;
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            Some(line) = lines.recv() => print([line])?,
            Some(pod) = ended.recv() => drop(followed.insert(pod, Followed::Until(Timestamp::now()))),
            _ = look.tick() => {
                for pod in pods(access, name, &options.components).await? {
                    let parameters = match followed.get(&pod.name) {
                        Some(Followed::Now) => continue,
                        Some(Followed::Until(_)) if !pod.runs => continue,
                        Some(Followed::Until(since)) => LogParams {
                            since_time: Some(*since),
                            follow: true,
                            ..LogParams::default()
                        },
                        None if is_first_look => options.parameters(),
                        // It began while others were followed: all of it is new.
                        None => LogParams { follow: true, ..LogParams::default() },
                    };
                    followed.insert(pod.name.clone(), Followed::Now);
                    let api = Api::namespaced(access.client.clone(), &access.namespace);
                    let (sender, ended) = (sender.clone(), ended_sender.clone());
                    tokio::spawn(async move {
                        follow_pod(&api, &pod.name, &parameters, &sender).await;
                        // Nobody listens any more when the whole ends.
                        let _ = ended.send(pod.name);
                    });
                }
                is_first_look = false;
            }
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// Sends the lines of a pod until its log ends.
async fn follow_pod(api: &Api<Pod>, pod: &str, parameters: &LogParams, lines: &mpsc::Sender<String>) {
    let stream = match api.log_stream(pod, parameters).await {
        Ok(stream) => stream,
        Err(error) => {
            eprintln!("kubectl medindex: the log of {pod} cannot be had just now: {error}");
            return;
        }
    };
    let mut read = stream.lines();
    while let Some(line) = read.next().await {
        let Ok(line) = line else { return };
        if lines.send(format!("{pod} | {line}")).await.is_err() {
            return;
        }
    }
}

fn print(lines: impl IntoIterator<Item = String>) -> Result<(), PluginError> {
    let mut out = std::io::stdout().lock();
    lines.into_iter().try_for_each(|line| writeln!(out, "{line}")).map_err(PluginError::Print)
}
