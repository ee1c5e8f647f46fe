//! Two region servers over HDFS, one of them killed.

use std::time::{Duration, Instant};

use medindex_backends::hbase::{HbaseImageStore, HbaseOptions};
use medindex_hbase_admin::{HbaseAdmin, TableName, TimeLimits};
use medindex_testbed::hbase::ThriftServers;
use medindex_testbed::hdfs::HdfsCluster;

use crate::deaths::{Load, assert_all_there};
use crate::support::{PARTITIONS, new_namespace, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn the_other_region_server_takes_over_and_every_acknowledged_row_is_there() {
    if medindex_testbed::skipped("hdfs") {
        return;
    }
    let mut cluster = HdfsCluster::start().unwrap();
    let namespace = new_namespace(&cluster.thrift2());
    let table = TableName::new(&namespace, "image_info");
    let mut admin = HbaseAdmin::new(cluster.thrift2(), TimeLimits::default());
    let mut servers = || {
        let regions = admin.table(&table).unwrap().unwrap().regions;
        assert_eq!(regions.len(), PARTITIONS as usize);
        let mut servers: Vec<String> = regions.into_iter().map(|region| region.server).collect();
        servers.sort();
        servers.dedup();
        servers
    };
    assert_eq!(servers().len(), 2, "the regions lie on both region servers");

    let mut options = HbaseOptions::new(vec![cluster.thrift1()], &namespace);
    options.patience = Duration::from_mins(3);
    let store = HbaseImageStore::open(&options).await.unwrap();
    let load = Load::start(&store);
    load.wait_for_more(300).await;
    let begin = Instant::now();
    cluster.kill_region_server(0);
    // The writers all stand still until the regions have moved.
    load.wait_for_more(300).await;
    println!("300 more rows were acknowledged {:.1?} after the region server was killed", begin.elapsed());
    wait_until("all regions on one server", || servers().len() == 1).await;
    let acknowledged = load.stop().await;
    assert_all_there(&store, &acknowledged).await;
    println!("{} rows acknowledged, all there", acknowledged.len());

    tokio::task::spawn_blocking(move || cluster.restart_region_server(0).map(|()| cluster))
        .await
        .unwrap()
        .unwrap();
}
