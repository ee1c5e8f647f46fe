//! The image store on real HBase servers.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod deaths;
mod figures;
mod hdfs;
mod names;
mod rows;
mod secured;
mod segments;
mod support;

use std::sync::Arc;

use async_trait::async_trait;
use medindex_backends::contract::{self, Factory, Place};
use medindex_backends::{Columns, ImageStore};
use medindex_hbase_admin::tables::image_table;
use medindex_hbase_admin::{Compression, TableName, differences};

use crate::support::{PARTITIONS, Shared, information, row_of, shared};

struct Namespaces(Arc<Shared>);

struct Namespace {
    name: String,
    server: Arc<Shared>,
}

#[async_trait]
impl Factory<dyn ImageStore> for Namespaces {
    async fn place(&self) -> Arc<dyn Place<dyn ImageStore>> {
        Arc::new(Namespace { name: self.0.namespace(), server: Arc::clone(&self.0) })
    }
}

#[async_trait]
impl Place<dyn ImageStore> for Namespace {
    async fn open(&self) -> Arc<dyn ImageStore> {
        Arc::new(self.server.open(&self.name).await)
    }
    // Nothing is kept in the process: a new store reads what the old one wrote.
    async fn close(&self, _port: Arc<dyn ImageStore>) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn hbase_is_an_image_store() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    contract::image_store::run(Namespaces(shared())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_has_nine_regions_and_each_holds_its_partition() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let server = shared();
    let namespace = server.namespace();
    let table = TableName::new(&namespace, "image_info");
    let state = server.admin().table(&table).unwrap().unwrap();
    assert_eq!(state.regions.len(), 9);
    assert_eq!(differences(&image_table(&namespace, PARTITIONS, Compression::Snappy), &state), []);

    let store = server.open(&namespace).await;
    let rows: Vec<_> = (0..180).map(|number| (row_of(number % PARTITIONS), information(number))).collect();
    store.put_many(rows.clone()).await.unwrap();
    for (row, _) in &rows {
        let holding = state.regions.iter().position(|region| region.holds(row.as_str().as_bytes()));
        assert_eq!(holding, Some(row.partition() as usize), "{row}");
    }
    for partition in 0..PARTITIONS {
        let found = store.scan(partition, Columns::INFORMATION, None, 1000).await.unwrap();
        assert_eq!(found.len(), 20, "partition {partition}");
    }
}
