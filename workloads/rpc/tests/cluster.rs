//! A gateway, an embedder and search shards talking gRPC, over one set of embedded backends: what is a process on a cluster is a core of
//! its own here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use medindex_backends::Queue as _;
use medindex_backends::embedded::{EmbeddedStore, MemoryCache, open_catalog};
use medindex_embedding::{BatchingOptions, Embedder, Model, RuntimeOptions, find_model, models_folder};
use medindex_pipeline::{
    Accepted, Classified as _, Core, EmbedWorker, ErrorKind, GroupBy, Pipeline, Ports, PublishedQuantizer,
    Query, SearchRequest, SearchResponse, Searcher as _, Settings, Shard, ShardOptions, Upload,
    register_model, train_and_publish,
};
use medindex_proto::names::{
    TOPIC_DEAD_LETTER, TOPIC_IMAGE_INDEXED, TOPIC_IMAGE_UPLOAD, TOPIC_OPERATION_LOG,
};
use medindex_rpc::embed_server::EmbedService;
use medindex_rpc::remote_embedder::RemoteEmbedder;
use medindex_rpc::scatter::{Scatter, ScatterOptions};
use medindex_rpc::serving::serve;
use medindex_rpc::shard_server::ShardService;
use medindex_rpc::topology::Topology;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

const DEADLINE: Duration = Duration::from_mins(2);
const PARTITIONS: u32 = 9;
/// A query with its embedding on a busy machine, and the wait for another replica; half the deadline of a question.
const HEDGED_WITHIN: Duration = Duration::from_secs(1);

/// Backends that every process here shares.
struct Backends {
    folder: TempDir,
    ports: Ports,
}

impl Backends {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path()).await.unwrap();
        for topic in [TOPIC_IMAGE_UPLOAD, TOPIC_IMAGE_INDEXED, TOPIC_DEAD_LETTER, TOPIC_OPERATION_LOG] {
            store.create_topic(topic, PARTITIONS).await.unwrap();
        }
        let ports = Ports {
            store: Arc::new(store.clone()),
            queue: Arc::new(store),
            catalog: Arc::new(open_catalog(folder.path()).await.unwrap()),
            cache: Arc::new(MemoryCache::new(64 << 20)),
        };
        Self { folder, ports }
    }

    /// What a process has of its own.
    fn core(&self, model: &Model) -> Arc<Core> {
        Core::new(Settings::default(), PARTITIONS, self.ports.clone(), model.manifest().clone()).unwrap()
    }

    fn subfolder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn load_model() -> (Arc<Model>, String) {
    let folder =
        find_model(&models_folder().unwrap(), "efficientnet-lite0").expect("no model: run `make setup`");
    let options =
        RuntimeOptions::from_environment().expect("no ONNX Runtime: run `make setup`").with_threads(1);
    let manifest = std::fs::read_to_string(folder.join("manifest.yaml")).unwrap();
    (Arc::new(Model::load(&folder, &options).expect("the model cannot be loaded")), manifest)
}

/// A gRPC server that can be told to end.
struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    core: Arc<Core>,
}

impl Running {
    async fn kill(&self) {
        self.stop.cancel();
        self.core.end().await;
    }
}

async fn serve_shard(backends: &Backends, model: &Model, number: u32, replica: u32, shards: u32) -> Running {
    let core = backends.core(model);
    let partitions = (0..PARTITIONS).filter(|partition| partition % shards == number).collect();
    let folder = backends.subfolder(&format!("shard-{number}-{replica}-of-{shards}"));
    let options = ShardOptions { folder, partitions, memory_limit: None, publish_every: None };
    let shard = Shard::open(Arc::clone(&core), options).await.unwrap();
    let (address, stop) = listen(Routes::new(ShardService::new(shard, number, replica).into_server())).await;
    Running { address, stop, core }
}

/// Serves as the programs do, on a free port; calls in flight are cut off when it is told to stop.
async fn listen(routes: Routes) -> (SocketAddr, CancellationToken) {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let stop = CancellationToken::new();
    let until = stop.clone();
    tokio::spawn(async move { serve(address, routes, until, Duration::ZERO).await.unwrap() });
    wait_for("the server to listen", || async { TcpStream::connect(address).await.is_ok() }).await;
    (address, stop)
}

async fn serve_embedder(backends: &Backends, model: &Arc<Model>) -> Running {
    let core = backends.core(model);
    let embedder = Arc::new(Embedder::start(Arc::clone(model), BatchingOptions::default()).unwrap());
    let quantizers = PublishedQuantizer::follow(Arc::clone(&core)).await;
    EmbedWorker { core: Arc::clone(&core), embedding: Arc::clone(&embedder) as _, quantizers }
        .start()
        .await
        .unwrap();
    let service = EmbedService::new(embedder, core.model_digest(), "lite");
    let (address, stop) = listen(Routes::new(service.into_server())).await;
    Running { address, stop, core }
}

async fn gateway(backends: &Backends, model: &Model, shards: &[Running], embedder: &Running) -> Pipeline {
    let core = backends.core(model);
    let addresses: Vec<String> = shards.iter().map(|shard| shard.address.to_string()).collect();
    let topology = Topology::new(addresses.join(",").parse().unwrap(), PARTITIONS, core.model_digest());
    topology.refresh().await;
    tokio::spawn(Arc::clone(&topology).run(core.stop().clone()));
    let targets = embedder.address.to_string().parse().unwrap();
    let remote = RemoteEmbedder::new(targets, core.model_digest(), Duration::from_secs(30));
    remote.refresh().await;
    let options = ScatterOptions { deadline: Duration::from_secs(2), ..ScatterOptions::default() };
    let scatter = Arc::new(Scatter::new(topology, PARTITIONS, core.model_digest(), options));
    wait_for("all shards to be ready", || async { scatter.unready().await.is_none() }).await;
    Pipeline::connect(core, remote, scatter)
}

/// A way to a server on which everything stands still while the switch is on, as behind a process that hangs.
async fn stalling_way_to(server: SocketAddr) -> (SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (switch, stalled) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (near, far) = (near.into_split(), TcpStream::connect(server).await.unwrap().into_split());
            tokio::spawn(pass_on(near.0, far.1, stalled.clone()));
            tokio::spawn(pass_on(far.0, near.1, stalled.clone()));
        }
    });
    (address, switch)
}

async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut stalled: watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let moves = stalled.wait_for(|stalled| !stalled).await.is_ok();
        if !moves || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn wait_for<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    let deadline = Instant::now() + DEADLINE;
    while !done().await {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A grey PNG whose pattern depends on `seed`.
fn pattern(seed: u32) -> Upload {
    let width = 64_u32;
    let mut pixels = Vec::new();
    for y in 0..width {
        for x in 0..width {
            let angle = seed as f32 * 0.37;
            let (x, y) = (x as f32, y as f32);
            let wave = (x * angle.cos() + y * angle.sin()) * (0.1 + (seed % 17) as f32 * 0.03);
            let radius = ((x - 32.0).powi(2) + (y - 32.0).powi(2)).sqrt() * (seed % 5) as f32 * 0.1;
            pixels.push((127.0 + 60.0 * wave.sin() + 60.0 * radius.cos()) as u8);
        }
    }
    let picture =
        medindex_imaging::Rendered::new(width, width, medindex_imaging::Channels::Grey, pixels).unwrap();
    let bytes = picture.to_png(width).unwrap().into();
    let label = Some(format!("class{}", seed % 5));
    Upload { name: format!("pattern-{seed}.png"), bytes, label, sidecar: None }
}

/// Each asks for another number of results, so that shards answer and never the cache.
fn by_file(upload: &Upload) -> SearchRequest {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let query = Query::File { name: upload.name.clone(), bytes: upload.bytes.clone() };
    SearchRequest { k: 10 + ASKED.fetch_add(1, Ordering::Relaxed) % 900, ..SearchRequest::new(query) }
}

async fn upload_all(gateway: &Pipeline, count: u32) -> Vec<(Upload, Accepted)> {
    let mut uploaded = Vec::new();
    for seed in 0..count {
        let upload = pattern(seed);
        uploaded.push((upload.clone(), gateway.accept(upload).await.unwrap()));
    }
    for (_, accepted) in &uploaded {
        gateway.wait_until_searchable(&accepted.id, DEADLINE).await.unwrap();
    }
    uploaded
}

async fn first_hit(gateway: &Pipeline, upload: &Upload) -> SearchResponse {
    gateway.search(by_file(upload)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_image_is_found_through_three_shards_of_two_replicas_whatever_replica_dies() {
    let (model, manifest) = load_model();
    let backends = Backends::new().await;
    register_model(backends.ports.store.as_ref(), PARTITIONS, &manifest).await.unwrap();
    let embedder = serve_embedder(&backends, &model).await;
    let mut shards = Vec::new();
    for replica in 0..2 {
        for number in 0..3 {
            shards.push(serve_shard(&backends, &model, number, replica, 3).await);
        }
    }
    let gateway = gateway(&backends, &model, &shards, &embedder).await;

    let uploaded = upload_all(&gateway, 40).await;
    for (upload, accepted) in &uploaded {
        let answer = first_hit(&gateway, upload).await;
        assert_eq!(answer.results[0].id, accepted.id);
        assert!(!answer.partial);
        assert!(answer.results.is_sorted_by(|a, b| a.distance <= b.distance));
    }
    let status = gateway.status().await.unwrap();
    assert_eq!((status.index.entries, status.index_lag, status.images.indexed), (40, 0, 40));

    // One replica of every shard dies: nobody notices.
    for shard in &shards[..3] {
        shard.kill().await;
    }
    for (upload, accepted) in &uploaded {
        let answer = first_hit(&gateway, upload).await;
        assert_eq!(answer.results[0].id, accepted.id);
        assert!(!answer.partial, "missing {:?}", answer.missing_partitions);
    }

    // The other replica of shard 1 dies too: answers say what is missing, and who wants all gets an error.
    shards[4].kill().await;
    // Connections that stand outlive the listener here, where a killed process would take them along: the gateway sees it at its next look.
    wait_for("the shard to be missed", || async { first_hit(&gateway, &uploaded[0].0).await.partial }).await;
    let answer = first_hit(&gateway, &uploaded[0].0).await;
    assert_eq!((answer.partial, answer.missing_partitions.as_slice()), (true, [1, 4, 7].as_slice()));
    let found: BTreeSet<u32> =
        answer.results.iter().map(|hit| medindex_proto::partition_of(&hit.id, PARTITIONS) % 3).collect();
    assert!(!found.contains(&1) && !answer.results.is_empty());
    let whole = SearchRequest { whole: true, ..by_file(&uploaded[0].0) };
    let refusal = gateway.search(whole).await.unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::Unavailable);
    assert!(refusal.to_string().contains("1, 4, 7"), "{refusal}");
}

/// Where answers are sent in two packets, the second waits for an acknowledgement that the caller delays by 40 ms, unless the server says otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_for_no_delayed_acknowledgement() {
    let (model, manifest) = load_model();
    let backends = Backends::new().await;
    register_model(backends.ports.store.as_ref(), PARTITIONS, &manifest).await.unwrap();
    let shard = serve_shard(&backends, &model, 0, 0, 1).await;
    let core = &shard.core;
    let topology = Topology::new(shard.address.to_string().parse().unwrap(), PARTITIONS, core.model_digest());
    tokio::spawn(Arc::clone(&topology).run(core.stop().clone()));
    let scatter = Scatter::new(topology, PARTITIONS, core.model_digest(), ScatterOptions::default());
    wait_for("the shard to be ready", || async { scatter.unready().await.is_none() }).await;
    let mut vector = vec![0.0; core.model().embedding.dimension];
    vector[0] = 1.0;
    let mut times = Vec::new();
    for _ in 0..31 {
        let asked = Instant::now();
        scatter.search(medindex_index::SearchRequest::new(vector.clone(), 5)).await.unwrap();
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    assert!(times[15] < Duration::from_millis(20), "{times:?}");
    shard.kill().await;
}

/// As when the last pod of an old shard goes while pods of more shards are there already. Nobody looks again: what is known is out of date.
#[tokio::test(flavor = "multi_thread")]
async fn shards_that_hold_its_partitions_answer_for_one_whose_last_replica_went() {
    let (model, manifest) = load_model();
    let backends = Backends::new().await;
    register_model(backends.ports.store.as_ref(), PARTITIONS, &manifest).await.unwrap();
    let old = serve_shard(&backends, &model, 0, 0, 1).await;
    let (way, cut) = stalling_way_to(old.address).await;
    let new = [serve_shard(&backends, &model, 0, 0, 2).await, serve_shard(&backends, &model, 1, 0, 2).await];
    let core = &old.core;
    let targets = format!("{way},{},{}", new[0].address, new[1].address);
    let topology = Topology::new(targets.parse().unwrap(), PARTITIONS, core.model_digest());
    wait_for("all three to be ready", || async {
        topology.refresh().await;
        topology.shards().reports.iter().all(|report| report.unready.is_none())
    })
    .await;
    let asked = &topology.shards().groups;
    assert!(asked.len() == 1 && asked[0].replicas[0].address == way, "{asked:?}");
    let scatter = Scatter::new(topology, PARTITIONS, core.model_digest(), ScatterOptions::default());
    let mut vector = vec![0.0; core.model().embedding.dimension];
    vector[0] = 1.0;
    let question = medindex_index::SearchRequest::new(vector, 5);

    // Without anybody who holds the switch, its connections break.
    drop(cut);
    let found = scatter.search(question.clone()).await.unwrap();
    assert_eq!(found.missing_partitions, Vec::<u32>::new());
    for shard in [&old, &new[0], &new[1]] {
        shard.kill().await;
    }
}

/// A replica that hangs keeps its connections: nothing fails, it only does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn another_replica_answers_for_one_that_hangs_before_the_deadline() {
    let (model, manifest) = load_model();
    let backends = Backends::new().await;
    register_model(backends.ports.store.as_ref(), PARTITIONS, &manifest).await.unwrap();
    let embedder = serve_embedder(&backends, &model).await;
    let mut hanging = serve_shard(&backends, &model, 0, 0, 1).await;
    let (way, stalled) = stalling_way_to(hanging.address).await;
    hanging.address = way;
    let shards = [hanging, serve_shard(&backends, &model, 0, 1, 1).await];
    let gateway = gateway(&backends, &model, &shards, &embedder).await;
    let uploaded = upload_all(&gateway, 10).await;
    // Until it is known how long answers take.
    for _ in 0..6 {
        for (upload, _) in &uploaded {
            first_hit(&gateway, upload).await;
        }
    }
    stalled.send(true).unwrap();
    for (upload, accepted) in &uploaded {
        let asked = Instant::now();
        let answer = first_hit(&gateway, upload).await;
        assert_eq!((answer.results[0].id, answer.partial), (accepted.id, false));
        assert!(asked.elapsed() < HEDGED_WITHIN, "it took {:?}", asked.elapsed());
    }
    stalled.send(false).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_generation_is_taken_up_by_every_shard_and_given_back() {
    let (model, manifest) = load_model();
    let backends = Backends::new().await;
    register_model(backends.ports.store.as_ref(), PARTITIONS, &manifest).await.unwrap();
    let embedder = serve_embedder(&backends, &model).await;
    let shards =
        [serve_shard(&backends, &model, 0, 0, 2).await, serve_shard(&backends, &model, 1, 0, 2).await];
    let gateway = gateway(&backends, &model, &shards, &embedder).await;
    let uploaded = upload_all(&gateway, 300).await;

    let trainer = backends.core(&model);
    let report = train_and_publish(&trainer, &backends.subfolder("trainer"), &|_| {}).await.unwrap();
    assert!(report.accepted && report.generation == 1, "{report:?}");
    assert!(report.recall_at_10 >= 0.9, "{report:?}");
    wait_for("generation 1 everywhere", || async { gateway.status().await.unwrap().index.generation == 1 })
        .await;
    for (upload, accepted) in uploaded.iter().step_by(10) {
        let answer = first_hit(&gateway, upload).await;
        assert_eq!((answer.results[0].id, answer.generation), (accepted.id, 1));
    }

    // Studies are grouped over shards as inside one: an image without a study is its own.
    let grouped = SearchRequest { group_by: GroupBy::Study, k: 20, ..by_file(&uploaded[0].0) };
    let answer = gateway.search(grouped).await.unwrap();
    assert_eq!(answer.results.iter().map(|hit| hit.id).collect::<BTreeSet<_>>().len(), 20);

    assert_eq!(gateway.roll_back(None).await.unwrap(), 0);
    wait_for("exact search again", || async { gateway.status().await.unwrap().index.generation == 0 }).await;
    assert_eq!(first_hit(&gateway, &uploaded[7].0).await.results[0].id, uploaded[7].1.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_image_is_gone_from_every_replica_and_a_new_shard_loads_the_rest_from_the_store() {
    let (model, manifest) = load_model();
    let backends = Backends::new().await;
    register_model(backends.ports.store.as_ref(), PARTITIONS, &manifest).await.unwrap();
    let embedder = serve_embedder(&backends, &model).await;
    let shards = [serve_shard(&backends, &model, 0, 0, 1).await];
    let before = gateway(&backends, &model, &shards, &embedder).await;
    let uploaded = upload_all(&before, 30).await;
    before.delete(&uploaded[3].1.id).await.unwrap();
    assert!(!first_hit(&before, &uploaded[3].0).await.results.iter().any(|hit| hit.id == uploaded[3].1.id));

    // Three new shards, whose folders are empty, load what is left.
    let mut others = Vec::new();
    for number in 0..3 {
        others.push(serve_shard(&backends, &model, number, 0, 3).await);
    }
    let after = gateway(&backends, &model, &others, &embedder).await;
    wait_for("all 29 images", || async { after.status().await.unwrap().index.entries == 29 }).await;
    for (upload, accepted) in uploaded.iter().filter(|(_, accepted)| accepted.id != uploaded[3].1.id) {
        assert_eq!(first_hit(&after, upload).await.results[0].id, accepted.id);
    }
}
