//! What is not there is named, at once.

use std::time::{Duration, Instant};

use medindex_backends::fault::Fault;
use medindex_backends::hbase::{HbaseImageStore, HbaseOptions};
use medindex_backends::{Columns, ImageStore, ImageStoreError};
use medindex_hbase_admin::tables::{image_table, segment_table};
use medindex_hbase_admin::{Compression, TableName};
use medindex_testbed::ports::free_port;

use crate::support::{PARTITIONS, file, information, row, shared};

async fn refused(options: &HbaseOptions) -> String {
    let begin = Instant::now();
    let Err(error) = HbaseImageStore::open(options).await else { panic!("opened {options:?}") };
    let fault = error.fault().unwrap();
    assert!(matches!(fault, Fault::Inaccessible { .. }) && fault.needs_operator(), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(30), "tried again: {:?}", begin.elapsed());
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_namespace_table_or_family_is_named_with_what_to_do() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let server = shared();
    let namespace = server.namespace();
    let good = server.options(&namespace);

    let text = refused(&HbaseOptions { namespace: "nowhere".into(), ..good.clone() }).await;
    assert!(text.contains("nowhere:image_info") && text.contains("operator"), "{text}");
    let text = refused(&HbaseOptions { segments: "absent".into(), ..good.clone() }).await;
    assert!(text.contains(&format!("{namespace}:absent")) && text.contains("operator"), "{text}");

    let mut poor = image_table(&namespace, PARTITIONS, Compression::None);
    poor.name.name = "poor".into();
    poor.families.remove(0);
    server.admin().create_table(&poor).unwrap();
    let text = refused(&HbaseOptions { images: "poor".into(), ..good.clone() }).await;
    assert!(text.contains("poor") && text.contains("family MD"), "{text}");

    let other_port = HbaseOptions { addresses: vec![server.thrift2_address()], ..good };
    let text = refused(&other_port).await;
    assert!(text.contains("Thrift 1"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_goes_away_while_it_is_used_is_named() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let server = shared();
    let namespace = server.namespace();
    let store = server.open(&namespace).await;
    let table = TableName::new(&namespace, "image_info");
    let mut admin = server.admin();
    admin.disable_table(&table).unwrap();
    let error = store.get(&row(), Columns::ALL).await.unwrap_err();
    assert!(error.to_string().contains("disabled"), "{error}");
    admin.delete_table(&table).unwrap();
    let error = store.put(row(), file(10, 1)).await.unwrap_err();
    assert!(matches!(&error, ImageStoreError::PutRows { source: Fault::Inaccessible { .. }, .. }), "{error}");
    assert!(error.to_string().contains(&format!("{namespace}:image_info")), "{error}");
    let mut segments = segment_table(&namespace, Compression::None);
    segments.name = table;
    segments.families.remove(1);
    admin.create_table(&segments).unwrap();
    let error = store.put(row(), information(1)).await.unwrap_err();
    assert!(error.to_string().contains("family"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_passed_over_and_named_when_none_is() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let server = shared();
    let mut options = server.options(&server.namespace());
    let absent = format!("127.0.0.1:{}", free_port());
    options.addresses.insert(0, absent.clone());
    let store = HbaseImageStore::open(&options).await.unwrap();
    for seed in 0..20 {
        let row = row();
        store.put(row.clone(), file(10, seed)).await.unwrap();
        assert_eq!(store.get(&row, Columns::ALL).await.unwrap(), Some(file(10, seed)));
    }
    options.addresses = vec![absent.clone()];
    options.patience = Duration::from_millis(500);
    let Err(error) = HbaseImageStore::open(&options).await else { panic!("opened") };
    assert!(error.fault().unwrap().is_transient() && error.to_string().contains(&absent), "{error}");
}
