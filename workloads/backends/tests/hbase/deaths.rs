//! Servers killed under load: what was acknowledged is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use medindex_backends::hbase::{HbaseImageStore, HbaseOptions};
use medindex_backends::{Columns, ImageStore};
use medindex_proto::RowKey;
use medindex_testbed::hbase::{Hbase, HbaseProcess, ThriftServers};
use tokio::task::JoinHandle;

use crate::support::{image, new_namespace, row, wait_until};

/// Rows that were acknowledged, with their seeds.
pub(crate) type Acknowledged = Vec<(RowKey, u32)>;

/// Writers that put row after row until they are told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    writers: Vec<JoinHandle<Acknowledged>>,
}

impl Load {
    pub(crate) fn start(store: &HbaseImageStore) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let writer = |number: u32| {
            let (store, stop, count) = (store.clone(), Arc::clone(&stop), Arc::clone(&count));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let batch: Vec<_> =
                        (0..5).map(|each| (row(), (number << 24) + turn * 5 + each)).collect();
                    let rows = batch.iter().map(|(row, seed)| (row.clone(), image(10_000, *seed))).collect();
                    store.put_many(rows).await.unwrap();
                    count.fetch_add(batch.len(), Ordering::Relaxed);
                    acknowledged.extend(batch);
                }
                acknowledged
            })
        };
        let writers = (0..4).map(writer).collect();
        Self { stop, count, writers }
    }

    /// Waits until so many more rows are acknowledged.
    pub(crate) async fn wait_for_more(&self, rows: usize) {
        let goal = self.count.load(Ordering::Relaxed) + rows;
        wait_until("more rows", || {
            self.count.load(Ordering::Relaxed) >= goal || self.writers.iter().any(JoinHandle::is_finished)
        })
        .await;
    }

    pub(crate) async fn stop(self) -> Acknowledged {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for writer in self.writers {
            all.extend(writer.await.unwrap());
        }
        all
    }
}

pub(crate) async fn assert_all_there(store: &HbaseImageStore, acknowledged: &Acknowledged) {
    for chunk in acknowledged.chunks(100) {
        let rows: Vec<RowKey> = chunk.iter().map(|(row, _)| row.clone()).collect();
        let read = store.get_many(&rows, Columns::ALL).await.unwrap();
        for ((row, seed), read) in chunk.iter().zip(read) {
            assert!(read == Some(image(10_000, *seed)), "{row} was acknowledged and is lost or changed");
        }
    }
}

fn patient(hbase: &Hbase, namespace: &str) -> HbaseOptions {
    let mut options = HbaseOptions::new(vec![hbase.thrift1()], namespace);
    options.patience = Duration::from_mins(2);
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_outlive_the_thrift_server_and_the_region_server_and_lose_nothing() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let mut hbase = Hbase::start().unwrap();
    let namespace = new_namespace(&hbase.thrift2());
    let store = HbaseImageStore::open(&patient(&hbase, &namespace)).await.unwrap();
    let load = Load::start(&store);
    for process in [HbaseProcess::Thrift1, HbaseProcess::Server, HbaseProcess::Thrift1, HbaseProcess::Server]
    {
        load.wait_for_more(200).await;
        hbase.kill(process);
        hbase = tokio::task::spawn_blocking(move || {
            hbase.restart(process).unwrap();
            hbase
        })
        .await
        .unwrap();
    }
    load.wait_for_more(200).await;
    let acknowledged = load.stop().await;
    assert_all_there(&store, &acknowledged).await;
    println!("{} rows acknowledged over four kills, all there", acknowledged.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_given_up_in_time_and_used_again_when_it_goes_on() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let mut hbase = Hbase::start().unwrap();
    let namespace = new_namespace(&hbase.thrift2());
    let mut options = patient(&hbase, &namespace);
    let row = row();
    // A server that has just started takes longer to answer than the other store waits.
    let patient = HbaseImageStore::open(&options).await.unwrap();
    patient.put(row.clone(), image(100, 1)).await.unwrap();
    options.answer_timeout = Duration::from_secs(1);
    options.patience = Duration::from_secs(3);
    let store = HbaseImageStore::open(&options).await.unwrap();
    hbase.pause(HbaseProcess::Thrift1);
    let error = store.get(&row, Columns::ALL).await.unwrap_err();
    assert!(error.fault().unwrap().is_transient(), "{error}");
    hbase.resume(HbaseProcess::Thrift1);
    assert_eq!(patient.get(&row, Columns::ALL).await.unwrap(), Some(image(100, 1)));
    // The store that gave the server up uses it again too, if not at once.
    let resumed = Instant::now();
    let read = loop {
        match store.get(&row, Columns::ALL).await {
            Ok(read) => break read,
            Err(error) => assert!(resumed.elapsed() < Duration::from_mins(2), "{error}"),
        }
    };
    assert_eq!(read, Some(image(100, 1)));
}
