//! How fast it is here; nothing is asserted about the figures.

use std::time::Instant;

use medindex_backends::{Columns, ImageStore};
use medindex_proto::RowKey;

use crate::support::{PARTITIONS, image, row, shared};

const ROWS: usize = 3000;

#[tokio::test(flavor = "multi_thread")]
async fn puts_gets_and_scans_are_timed() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let server = shared();
    let store = server.open(&server.namespace()).await;
    let rows: Vec<_> = (0..ROWS as u32).map(|seed| (row(), image(32 << 10, seed))).collect();
    let keys: Vec<RowKey> = rows.iter().map(|(row, _)| row.clone()).collect();

    let begin = Instant::now();
    let mut writers = Vec::new();
    for chunk in rows.chunks(ROWS / 4) {
        let (store, chunk) = (store.clone(), chunk.to_vec());
        writers.push(tokio::spawn(async move {
            for batch in chunk.chunks(100) {
                store.put_many(batch.to_vec()).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("put {ROWS} rows of 33 KB in batches of 100 by 4 writers: {:.0} rows/s", ROWS as f64 / seconds);

    let begin = Instant::now();
    for key in &keys[..300] {
        assert!(store.get(key, Columns::ALL).await.unwrap().is_some());
    }
    println!("get, one after the other: {:.0} rows/s", 300.0 / begin.elapsed().as_secs_f64());
    let begin = Instant::now();
    for batch in keys.chunks(200) {
        assert!(store.get_many(batch, Columns::ALL).await.unwrap().iter().all(Option::is_some));
    }
    println!("get in batches of 200: {:.0} rows/s", ROWS as f64 / begin.elapsed().as_secs_f64());

    for (name, columns) in [("vectors and codes", Columns::VECTORS | Columns::CODES), ("whole", Columns::ALL)]
    {
        let begin = Instant::now();
        let mut seen = 0;
        for partition in 0..PARTITIONS {
            seen += store.scan(partition, columns, None, ROWS).await.unwrap().len();
        }
        assert_eq!(seen, ROWS);
        println!("scan of rows, {name}: {:.0} rows/s", ROWS as f64 / begin.elapsed().as_secs_f64());
    }
}
