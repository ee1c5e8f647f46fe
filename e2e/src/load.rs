//! Queries and uploads that go on while something else happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use medindex_system_tests::Client;
use medindex_system_tests::pictures::Picture;
use medindex_system_tests::statistics::percentiles;

use crate::index::{self, Gateway, PATIENCE};
use crate::kubectl::wait_until;

/// An upload begins this often, unless the one before takes longer.
const UPLOAD_EVERY: Duration = Duration::from_secs(2);

/// What came of a query.
#[derive(Debug)]
pub struct Query {
    /// When it was asked, since the load began.
    pub at: Duration,
    /// How long it took.
    pub took: Duration,
    /// Why it is no answer to rely on: not answered, without a part of the index, or without the image itself.
    pub failure: Option<String>,
}

/// Several users who search one image after another, without a pause.
pub struct QueryLoad {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    users: Vec<JoinHandle<Vec<Query>>>,
}

impl QueryLoad {
    /// Begins; every image is one that the index has.
    pub fn start(client: &Client, images: &[(Picture, String)], users: usize) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let begun = Instant::now();
        let user = |number: usize| {
            let (client, images) = (client.clone(), images.to_vec());
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut queries = Vec::new();
                for (turn, (picture, id)) in images.iter().cycle().enumerate() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    // No query is asked twice: answers are kept, and a kept one asks no shard.
                    let results = 5 + turn / images.len() * users + number;
                    let (at, asked) = (begun.elapsed(), Instant::now());
                    let failure = ask(&client, picture, id, results).err();
                    queries.push(Query { at, took: asked.elapsed(), failure });
                    done.fetch_add(1, Ordering::Relaxed);
                }
                queries
            })
        };
        let users = (0..users).map(user).collect();
        Self { stop, done, users }
    }

    /// How many queries are done.
    pub fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits until so many more are done.
    pub fn go_on(&self, count: usize) {
        let wanted = self.done() + count;
        wait_until("queries to be answered", PATIENCE, || self.done() >= wanted);
    }

    /// Ends; all queries that there were.
    pub fn finish(mut self) -> Vec<Query> {
        self.stop.store(true, Ordering::Relaxed);
        std::mem::take(&mut self.users).into_iter().flat_map(|user| user.join().unwrap()).collect()
    }
}

/// A test that fails leaves nobody who goes on asking.
impl Drop for QueryLoad {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Users search from beginning to end of `work`, and not one query fails.
pub fn while_users_search(gateway: &Gateway, images: &[(Picture, String)], work: impl FnOnce(&QueryLoad)) {
    // Answers that were kept for queries of former tests are those of an older index.
    let new = index::new_picture();
    let new = gateway.client.upload(&new.name, &new.bytes, None);
    assert_eq!(gateway.client.wait_for(&new, PATIENCE), "indexed");
    gateway.wait_for_the_whole(images);
    let load = QueryLoad::start(&gateway.client, images, 2);
    load.go_on(20);
    work(&load);
    load.go_on(100);
    let queries = load.finish();
    let failed: Vec<&Query> = queries.iter().filter(|query| query.failure.is_some()).collect();
    let times: Vec<Duration> = queries.iter().map(|query| query.took).collect();
    println!("{} queries meanwhile, {} failed: {}", queries.len(), failed.len(), percentiles(&times));
    assert!(failed.is_empty(), "{failed:#?}");
}

fn ask(client: &Client, picture: &Picture, id: &str, results: usize) -> Result<(), String> {
    let results = results.to_string();
    let answer = client.try_search(&picture.bytes, &[("k", &results)]).map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("status {}: {}", answer.status, answer.body));
    }
    if answer.body["partial"] != false {
        return Err(format!("a part is missing: {}", answer.body["missing_partitions"]));
    }
    let hits = answer.body["results"].as_array().cloned().unwrap_or_default();
    if hits.iter().any(|hit| hit["id"] == id) {
        Ok(())
    } else {
        Err(format!("{} is not found", picture.name))
    }
}

/// What became of uploads.
#[derive(Debug, Default)]
pub struct Uploads {
    /// Those that were accepted, with their ids: none of them may be lost.
    pub accepted: Vec<(Picture, String)>,
    /// Why others were not.
    pub refused: Vec<String>,
}

/// A user who uploads new images, whatever becomes of them.
pub struct UploadLoad {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    user: Option<JoinHandle<Uploads>>,
}

impl UploadLoad {
    /// Begins.
    pub fn start(client: &Client) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (client, told, counted) = (client.clone(), Arc::clone(&stop), Arc::clone(&done));
        let user = std::thread::spawn(move || {
            let mut uploads = Uploads::default();
            while !told.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let picture = index::new_picture();
                match upload(&client, &picture) {
                    Ok(id) => uploads.accepted.push((picture, id)),
                    Err(why) => uploads.refused.push(why),
                }
                counted.fetch_add(1, Ordering::Relaxed);
                std::thread::park_timeout(UPLOAD_EVERY.saturating_sub(begun.elapsed()));
            }
            uploads
        });
        Self { stop, done, user: Some(user) }
    }

    /// How many uploads are done, accepted or not.
    pub fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends, after the upload that is on its way; what became of all.
    pub fn finish(mut self) -> Uploads {
        self.stop.store(true, Ordering::Relaxed);
        self.user.take().map_or_else(Uploads::default, |user| user.join().unwrap())
    }
}

/// A test that fails leaves nobody who goes on uploading.
impl Drop for UploadLoad {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn upload(client: &Client, picture: &Picture) -> Result<String, String> {
    let answer = client.try_upload(&picture.name, &picture.bytes, None).map_err(|error| error.to_string())?;
    match answer.body["id"].as_str() {
        Some(id) if answer.status == 202 => Ok(id.to_owned()),
        _ => Err(format!("status {}: {}", answer.status, answer.body)),
    }
}
