//! Queries that go on while something else happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use medindex_system_tests::Client;
use medindex_system_tests::pictures::Picture;

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

    /// Ends; all queries that there were.
    pub fn finish(self) -> Vec<Query> {
        self.stop.store(true, Ordering::Relaxed);
        self.users.into_iter().flat_map(|user| user.join().unwrap()).collect()
    }
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
