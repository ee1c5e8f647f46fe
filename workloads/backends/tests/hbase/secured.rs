//! Thrift servers behind a proxy that ends TLS, with mutual TLS: the way that docs/hbase-tls.md describes.

use std::fs;
use std::time::Duration;

use medindex_backends::credentials::TlsFiles;
use medindex_backends::fault::Fault;
use medindex_backends::hbase::{HbaseImageStore, HbaseOptions, RenewedTls};
use medindex_backends::{Columns, ImageStore};
use medindex_hbase_admin::tables::image_table;
use medindex_hbase_admin::{Compression, HbaseAdmin, HbaseAdminError, TimeLimits, differences};
use medindex_testbed::certificates::Certificates;
use medindex_testbed::tls_proxy::TlsProxy;
use tempfile::TempDir;

use crate::support::{PARTITIONS, image, row, shared};

/// Certificates of an authority of their own, in a folder.
struct Authority {
    certificates: Certificates,
    _folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { certificates: Certificates::new(folder.path()).unwrap(), _folder: folder }
    }

    fn client_files(&self) -> TlsFiles {
        TlsFiles {
            authorities: Some(self.certificates.authority.clone()),
            certificate: Some(self.certificates.client_certificate.clone()),
            key: Some(self.certificates.client_key.clone()),
        }
    }

    /// Files with which a server of this authority lets nobody in: certificates of another authority, none, and trust in another authority.
    fn refused(&self, other: &Self) -> [TlsFiles; 3] {
        let own = self.client_files();
        let stranger = TlsFiles { authorities: own.authorities.clone(), ..other.client_files() };
        let nobody = TlsFiles { certificate: None, key: None, ..own };
        [stranger, nobody, other.client_files()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_blobs_travel_over_mutual_tls() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let server = shared();
    let authority = Authority::new();
    let proxy = TlsProxy::start(&authority.certificates, server.thrift1_address()).unwrap();
    let mut options = HbaseOptions::new(vec![proxy.address()], server.namespace());
    options.tls = Some(authority.client_files());
    let store = HbaseImageStore::open(&options).await.unwrap();
    let (row, values) = (row(), image(5 << 20, 1));
    store.put(row.clone(), values.clone()).await.unwrap();
    assert!(store.get(&row, Columns::ALL).await.unwrap() == Some(values));

    // Another authority's certificate is not taken, and no certificate is not, and nothing goes in the clear.
    options.patience = Duration::from_millis(300);
    let other = Authority::new();
    for tls in authority.refused(&other).into_iter().map(Some).chain([None]) {
        options.tls = tls;
        assert!(HbaseImageStore::open(&options).await.is_err(), "{:?}", options.tls);
    }
}

/// An administrator at a proxy; files are looked at again at every call.
fn admin(proxy: &TlsProxy, files: &TlsFiles) -> HbaseAdmin {
    let limits = TimeLimits { connect: Duration::from_secs(5), ..TimeLimits::default() };
    let tls = RenewedTls::read(files, Duration::ZERO).unwrap();
    HbaseAdmin::new(proxy.address(), limits).with_tls(move || Ok(tls.config()))
}

#[test]
fn tables_are_made_over_mutual_tls_and_renewed_certificates_are_taken_up() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let server = shared();
    let authority = Authority::new();
    let proxy = TlsProxy::start(&authority.certificates, server.thrift2_address()).unwrap();
    let mut secured = admin(&proxy, &authority.client_files());
    assert!(secured.ensure_namespace("secured").unwrap());
    let table = image_table("secured", PARTITIONS, Compression::Snappy);
    let made = secured.create_table(&table).unwrap();
    assert_eq!(differences(&table, &made), []);
    assert_eq!(proxy.accepted(), 1, "one connection for all calls");

    // What is refused says so, naming where; nothing goes in the clear.
    let renewed = Authority::new();
    for files in authority.refused(&renewed) {
        let error = admin(&proxy, &files).namespaces().unwrap_err();
        assert!(matches!(error, HbaseAdminError::Connect { .. }), "{files:?}: {error:?}");
        assert!(
            error.to_string().contains(&proxy.address()) && error.to_string().contains("certificate"),
            "{error}"
        );
    }
    let plain = HbaseAdmin::new(proxy.address(), TimeLimits::default()).namespaces();
    assert!(matches!(plain, Err(HbaseAdminError::CheckServer { .. })), "{plain:?}");

    // Both sides get certificates of another authority, in the files that there are.
    proxy.renew(&renewed.certificates).unwrap();
    let before = proxy.accepted();
    authority.certificates.take_client(&renewed.certificates).unwrap();
    assert_eq!(secured.table(&table.name).unwrap(), Some(made));
    assert_eq!(proxy.accepted(), before + 1, "the renewed certificates are not used");
    // Files that cannot be used leave the former ones in use.
    fs::write(&authority.certificates.client_certificate, "no certificate").unwrap();
    assert!(secured.delete_table(&table.name).unwrap());
    assert!(secured.delete_namespace("secured").unwrap());
    assert_eq!(proxy.accepted(), before + 1);
}

#[tokio::test]
async fn tls_files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let own = &authority.certificates;
    let (absent, cut) = (own.authority.with_file_name("absent.pem"), own.authority.with_file_name("cut.pem"));
    let alone = TlsFiles { key: None, ..authority.client_files() };
    let text = fs::read(&own.authority).unwrap();
    fs::write(&cut, &text[..text.len() / 2]).unwrap();
    for (tls, named) in [
        (TlsFiles { authorities: Some(absent.clone()), ..authority.client_files() }, absent),
        (alone, own.client_certificate.clone()),
        (TlsFiles { authorities: Some(cut.clone()), ..TlsFiles::default() }, cut),
    ] {
        let mut options = HbaseOptions::new(vec!["localhost:1".to_owned()], "none");
        options.tls = Some(tls);
        let Err(error) = HbaseImageStore::open(&options).await else { panic!("opened") };
        assert!(matches!(error.fault(), Some(Fault::Inaccessible { .. })), "{error}");
        assert!(error.to_string().contains(&named.display().to_string()), "{error}");
    }
}
