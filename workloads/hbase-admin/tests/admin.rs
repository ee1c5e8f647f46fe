//! Administration of a real HBase.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use medindex_hbase_admin::tables::{image_table, segment_table};
use medindex_hbase_admin::{
    BloomFilter, Compression, Difference, HbaseAdmin, HbaseAdminError, TableName, TimeLimits, differences,
};
use medindex_testbed::hbase::{Hbase, HbaseProcess, ThriftServers};
use medindex_testbed::ports::free_port;

/// One server, and one thing after the other: a server takes longer to start than all of this to run.
#[test]
fn an_administrator_makes_compares_alters_and_deletes() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let mut hbase = Hbase::start().unwrap();
    let mut admin = HbaseAdmin::new(hbase.thrift2(), TimeLimits::default());
    namespaces_are_made_once_and_deleted_when_empty(&mut admin);
    every_setting_of_a_family_is_read_back(&mut admin);
    what_drifted_is_found_and_altered_back(&mut admin);
    refusals_say_why(&mut admin);
    the_wrong_server_is_told_apart(&hbase);
    a_restarted_server_is_connected_to_again(&mut hbase, &mut admin);
}

fn namespaces_are_made_once_and_deleted_when_empty(admin: &mut HbaseAdmin) {
    assert!(admin.ensure_namespace("spaces").unwrap());
    assert!(!admin.ensure_namespace("spaces").unwrap());
    assert!(admin.namespaces().unwrap().iter().any(|name| name == "spaces"));
    let table = segment_table("spaces", Compression::Gzip);
    assert_eq!(admin.create_table(&table).unwrap().regions.len(), 4);
    assert_eq!(admin.tables("spaces").unwrap(), std::slice::from_ref(&table.name));
    let error = admin.delete_namespace("spaces").unwrap_err();
    assert!(matches!(error, HbaseAdminError::Refuse { .. }), "{error}");
    assert!(admin.delete_table(&table.name).unwrap());
    assert!(!admin.delete_table(&table.name).unwrap());
    assert_eq!(admin.table(&table.name).unwrap(), None);
    assert!(admin.delete_namespace("spaces").unwrap());
    assert!(!admin.delete_namespace("spaces").unwrap());
}

fn every_setting_of_a_family_is_read_back(admin: &mut HbaseAdmin) {
    admin.ensure_namespace("settings").unwrap();
    let mut table = image_table("settings", 4, Compression::Snappy);
    table.families[0].time_to_live = Some(Duration::from_hours(24));
    table.families[0].versions = 3;
    table.families[0].block_bytes = 128 << 10;
    table.families[1].bloom = BloomFilter::RowColumn;
    table.families[1].compression = Compression::Gzip;
    let state = admin.create_table(&table).unwrap();
    assert_eq!(state.families, table.families);
    let begins: Vec<_> = state.regions.iter().map(|region| region.start_key.as_slice()).collect();
    assert_eq!(begins, [&b""[..], b"0001|", b"0002|", b"0003|"]);
    assert!(state.regions.iter().all(|region| !region.server.is_empty()) && state.enabled);
}

fn what_drifted_is_found_and_altered_back(admin: &mut HbaseAdmin) {
    admin.ensure_namespace("drift").unwrap();
    let wanted = image_table("drift", 9, Compression::Snappy);
    assert_eq!(differences(&wanted, &admin.ensure_table(&wanted).unwrap()), []);
    let mut drifted = wanted.families[1].clone();
    drifted.block_cache = false;
    admin.alter_family(&wanted.name, &drifted).unwrap();
    admin.disable_table(&wanted.name).unwrap();
    let found = differences(&wanted, &admin.ensure_table(&wanted).unwrap());
    let cache = Difference::FamilySetting {
        family: "MI".into(),
        setting: "block cache",
        wanted: "true".into(),
        found: "false".into(),
    };
    assert_eq!(found, [Difference::Disabled, cache]);
    admin.alter_family(&wanted.name, &wanted.families[1]).unwrap();
    admin.enable_table(&wanted.name).unwrap();
    assert_eq!(differences(&wanted, &admin.ensure_table(&wanted).unwrap()), []);

    let others = image_table("drift", 3, Compression::Snappy);
    let found = differences(&others, &admin.ensure_table(&others).unwrap());
    assert!(found.len() == 6 && found.iter().all(Difference::is_a_split), "{found:?}");
}

fn refusals_say_why(admin: &mut HbaseAdmin) {
    let error = admin.create_table(&image_table("nowhere", 2, Compression::None)).unwrap_err();
    assert!(error.to_string().contains("NamespaceNotFound") && !error.is_transient(), "{error}");
    let error = admin.create_table(&image_table("drift", 9, Compression::Snappy)).unwrap_err();
    assert!(
        error.to_string().contains("TableExists") && error.to_string().contains("drift:image_info"),
        "{error}"
    );
    let absent = TableName::new("drift", "absent");
    let family = image_table("drift", 1, Compression::None).families.remove(0);
    let error = admin.alter_family(&absent, &family).unwrap_err();
    assert!(error.to_string().contains("drift:absent") && !error.is_transient(), "{error}");
    // The connection is still good after refusals.
    assert!(admin.namespaces().is_ok());
}

fn the_wrong_server_is_told_apart(hbase: &Hbase) {
    let error = HbaseAdmin::new(hbase.thrift1(), TimeLimits::default()).namespaces().unwrap_err();
    assert!(
        matches!(error, HbaseAdminError::CheckServer { .. }) && error.to_string().contains("Thrift 1"),
        "{error}"
    );
    let address = format!("127.0.0.1:{}", free_port());
    let error = HbaseAdmin::new(&address, TimeLimits::default()).namespaces().unwrap_err();
    assert!(error.is_transient() && error.to_string().contains(&address), "{error}");
}

fn a_restarted_server_is_connected_to_again(hbase: &mut Hbase, admin: &mut HbaseAdmin) {
    hbase.kill(HbaseProcess::Thrift2);
    assert!(admin.namespaces().unwrap_err().is_transient());
    hbase.restart(HbaseProcess::Thrift2).unwrap();
    assert!(admin.namespaces().unwrap().iter().any(|name| name == "drift"));
}
