//! The catalog on a real `MariaDB`.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use medindex_backends::catalog::{Acceptance, ImageDescription, NewImage};
use medindex_backends::contract::{self, Factory, Place};
use medindex_backends::credentials::{LoginFiles, TlsFiles};
use medindex_backends::mysql_catalog::{MySqlOptions, MySqlServer, open_mysql_catalog};
use medindex_backends::sql_catalog::SqlCatalog;
use medindex_backends::{Catalog, Fault};
use medindex_proto::{ImageId, RowKey};
use medindex_testbed::mariadb::{MariaDb, MariaDbOptions};
use parking_lot::Mutex;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_mins(1);
const PASSWORD: &str = "geheim % / ? # @ : ü";

/// A server, a login that it takes, and the files with it.
struct Site {
    server: MariaDb,
    folder: TempDir,
    databases: AtomicU32,
}

impl Site {
    fn start(options: MariaDbOptions) -> Self {
        let server = MariaDb::start(options).unwrap();
        server.set_user("medindex", PASSWORD).unwrap();
        let site = Self { server, folder: tempfile::tempdir().unwrap(), databases: AtomicU32::new(0) };
        site.write_login("medindex", PASSWORD);
        site
    }

    fn write_login(&self, user: &str, password: &str) {
        fs::write(self.folder.path().join("user"), format!("{user}\n")).unwrap();
        fs::write(self.login().password, format!("{password}\n")).unwrap();
    }

    fn login(&self) -> LoginFiles {
        LoginFiles::new(self.folder.path().join("user"), self.folder.path().join("password"))
    }

    /// Options for a new, empty database.
    fn options(&self) -> MySqlOptions {
        let name = format!("medindex_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.server.create_database(&name, "utf8mb4_nopad_bin").unwrap();
        self.options_for(&name)
    }

    fn options_for(&self, database: &str) -> MySqlOptions {
        let mut options = MySqlOptions::new(address(&self.server), database, self.login());
        options.readers = 2;
        options
    }
}

fn address(server: &MariaDb) -> MySqlServer {
    MySqlServer { host: "127.0.0.1".to_owned(), port: server.port() }
}

struct Database {
    options: MySqlOptions,
    open: Mutex<Option<SqlCatalog>>,
}

#[async_trait]
impl Place<dyn Catalog> for Database {
    async fn open(&self) -> Arc<dyn Catalog> {
        let catalog = open_mysql_catalog(self.options.clone()).await.unwrap();
        *self.open.lock() = Some(catalog.clone());
        Arc::new(catalog)
    }
    async fn close(&self, _port: Arc<dyn Catalog>) {
        let catalog = self.open.lock().take().unwrap();
        catalog.close().await;
    }
}

#[async_trait]
impl Factory<dyn Catalog> for Site {
    async fn place(&self) -> Arc<dyn Place<dyn Catalog>> {
        Arc::new(Database { options: self.options(), open: Mutex::new(None) })
    }
}

fn image(seed: u32, name: &str) -> NewImage {
    let id = ImageId::new();
    let mut sha256 = [0; 32];
    sha256[..4].copy_from_slice(&seed.to_be_bytes());
    NewImage {
        id,
        row_key: RowKey::new(&id, 9),
        organisation: "Klinik".to_owned(),
        sha256,
        md5: [7; 16],
        name: name.to_owned(),
        label: None,
        content_type: "application/dicom".to_owned(),
        format: "dicom".to_owned(),
        bytes: 5,
        received_at_ms: 1_700_000_000_000,
        description: ImageDescription::default(),
        sidecar: None,
    }
}

/// Tries until it succeeds; a failure in between must be one that passes.
async fn until_it_works<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(act: impl Fn() -> F) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match act().await {
            Ok(value) => return value,
            Err(error) => assert!(Instant::now() < deadline, "still fails: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn refusal(options: MySqlOptions) -> (String, bool) {
    let Err(error) = open_mysql_catalog(options).await else { panic!("it opened") };
    println!("{error}");
    (error.to_string(), error.fault().unwrap().needs_operator())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mysql_catalog_is_a_catalog() {
    if medindex_testbed::skipped("mariadb") {
        return;
    }
    contract::catalog::run(Site::start(MariaDbOptions::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_processes_that_offer_the_same_bytes_at_once_one_is_told_that_they_are_new() {
    if medindex_testbed::skipped("mariadb") {
        return;
    }
    let site = Site::start(MariaDbOptions::default());
    let options = site.options();
    // They also make the tables at once.
    let opening = (0..4).map(|_| open_mysql_catalog(options.clone()));
    let catalogs: Vec<_> = futures::future::try_join_all(opening).await.unwrap();
    for round in 0..50 {
        // Batches in opposite orders: their transactions stand in each other's way.
        let offers = catalogs.iter().enumerate().map(|(number, catalog)| {
            let mut images: Vec<_> = (0..8).map(|seed| image(round * 8 + seed, "a")).collect();
            if number % 2 == 1 {
                images.reverse();
            }
            catalog.accept_images(images)
        });
        let mut answers = futures::future::try_join_all(offers).await.unwrap();
        answers.iter_mut().skip(1).step_by(2).for_each(|answers| answers.reverse());
        for seed in 0..8 {
            let new: Vec<_> = answers
                .iter()
                .filter_map(|answers| match answers[seed] {
                    Acceptance::New(id) => Some(id),
                    _ => None,
                })
                .collect();
            assert_eq!(new.len(), 1, "{answers:?}");
            for answers in &answers {
                let expected = [Acceptance::New(new[0]), Acceptance::Duplicate(new[0])];
                assert!(expected.contains(&answers[seed]), "{answers:?}");
            }
        }
    }
    for catalog in &catalogs {
        assert_eq!(catalog.counts().await.unwrap().by_status[0].1, 400);
        catalog.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills_of_the_server() {
    if medindex_testbed::skipped("mariadb") {
        return;
    }
    let mut site = Site::start(MariaDbOptions::default());
    let mut options = site.options();
    options.connect_patience = Duration::from_secs(1);
    let catalog = open_mysql_catalog(options).await.unwrap();
    let (acknowledged, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (catalog, acknowledged, stop) =
                (catalog.clone(), Arc::clone(&acknowledged), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut seed = writer << 20;
                let mut failures = 0;
                while !stop.load(Ordering::Relaxed) {
                    seed += 1;
                    let image = image(seed, "kept");
                    let id = image.id;
                    match catalog.accept_image(image).await {
                        Ok(answer) => {
                            assert_eq!(answer, Acceptance::New(id));
                            acknowledged.lock().push(id);
                        }
                        Err(error) => {
                            assert!(error.fault().unwrap().is_transient(), "{error}");
                            failures += 1;
                        }
                    }
                }
                failures
            })
        })
        .collect();
    for _ in 0..3 {
        let before = acknowledged.lock().len();
        let deadline = Instant::now() + DEADLINE;
        while acknowledged.lock().len() < before + 100 {
            assert!(Instant::now() < deadline, "the writers do not get on after the restart");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        site.server.kill();
        site.server.restart().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let mut failures = 0;
    for writer in writers {
        failures += writer.await.unwrap();
    }
    let acknowledged = acknowledged.lock().clone();
    println!("{} acknowledged, {failures} failed", acknowledged.len());
    assert!(failures > 0, "no kill met a write");
    for ids in acknowledged.chunks(1000) {
        let records = until_it_works(|| catalog.images(ids)).await;
        assert!(
            records.iter().all(|record| record.as_ref().is_some_and(|record| record.image.name == "kept"))
        );
    }
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_say_what_to_do() {
    if medindex_testbed::skipped("mariadb") {
        return;
    }
    let site =
        Site::start(MariaDbOptions { arguments: vec!["--max-connections=10".into()], ..Default::default() });
    let (text, operator) = refusal(site.options_for("medindex_none")).await;
    assert!(operator && text.contains("medindex_none") && text.contains("CREATE DATABASE"), "{text}");

    let (text, operator) = refusal(site.options_for("other")).await;
    assert!(operator && text.contains("grant"), "{text}");

    for collation in ["utf8mb4_swedish_ci", "utf8mb4_bin"] {
        let name = format!("medindex_{collation}");
        site.server.create_database(&name, collation).unwrap();
        let (text, operator) = refusal(site.options_for(&name)).await;
        assert!(operator && text.contains(collation) && text.contains("ALTER DATABASE"), "{text}");
    }

    let options = site.options();
    site.write_login("medindex", "wrong");
    let (text, operator) = refusal(options.clone()).await;
    assert!(operator && text.contains("password") && !text.contains("wrong"), "{text}");
    fs::remove_file(site.login().password).unwrap();
    let (text, operator) = refusal(options.clone()).await;
    assert!(operator && text.contains("password"), "{text}");
    site.write_login("medindex", PASSWORD);

    let mut elsewhere = options.clone();
    elsewhere.server.port = medindex_testbed::ports::free_port();
    elsewhere.connect_patience = Duration::from_millis(500);
    let (text, operator) = refusal(elsewhere).await;
    assert!(!operator && text.contains("does not answer"), "{text}");

    let mut greedy = options.clone();
    greedy.readers = 10;
    let catalog = open_mysql_catalog(greedy).await.unwrap();
    let mut held = Vec::new();
    let refused = loop {
        match open_mysql_catalog(options.clone()).await {
            Ok(catalog) => held.push(catalog),
            Err(error) => break error,
        }
    };
    println!("{refused}");
    assert!(refused.fault().unwrap().is_transient() && refused.to_string().contains("max_connections"));
    for catalog in held {
        catalog.close().await;
    }
    until_it_works(|| catalog.put_setting("key", "value")).await;
    catalog.close().await;

    site.server
        .admin(&format!(
            "INSERT INTO {}._sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (99, 'later', TRUE, '', 0)",
            options.database
        ))
        .unwrap();
    let error = open_mysql_catalog(options).await.map(drop).unwrap_err();
    assert!(matches!(error.fault(), Some(Fault::NewerSchema { .. })), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_tls_gets_it_or_is_named() {
    if medindex_testbed::skipped("mariadb") {
        return;
    }
    let site = Site::start(MariaDbOptions { tls: true, ..Default::default() });
    let mut options = site.options();
    let (text, operator) = refusal(options.clone()).await;
    assert!(operator && text.contains("TLS"), "{text}");

    let certificates = site.server.certificates().unwrap().clone();
    options.tls = Some(TlsFiles {
        authorities: Some(certificates.authority.clone()),
        certificate: Some(certificates.client_certificate),
        key: Some(certificates.client_key),
    });
    let catalog = open_mysql_catalog(options.clone()).await.unwrap();
    catalog.put_setting("key", "value").await.unwrap();
    assert_eq!(catalog.setting("key").await.unwrap().as_deref(), Some("value"));
    catalog.close().await;

    // An authority that did not sign the server's certificate.
    let other = medindex_testbed::certificates::Certificates::new(&site.folder.path().join("other")).unwrap();
    options.tls = Some(TlsFiles { authorities: Some(other.authority), ..TlsFiles::default() });
    let (text, operator) = refusal(options.clone()).await;
    assert!(operator && text.contains("TLS failed") && text.contains("authorities"), "{text}");

    let plain = Site::start(MariaDbOptions::default());
    let mut options = plain.options();
    options.tls = Some(TlsFiles { authorities: Some(certificates.authority), ..TlsFiles::default() });
    let (text, operator) = refusal(options).await;
    assert!(operator && text.contains("offer TLS"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_password_is_taken_up_without_a_restart() {
    if medindex_testbed::skipped("mariadb") {
        return;
    }
    let site = Site::start(MariaDbOptions::default());
    let mut options = site.options();
    options.check_files_every = Duration::from_millis(100);
    let catalog = open_mysql_catalog(options).await.unwrap();
    catalog.put_setting("key", "1").await.unwrap();
    site.server.set_user("medindex", "renewed").unwrap();
    site.server.admin("KILL USER medindex").unwrap();
    let error = catalog.put_setting("key", "2").await.unwrap_err();
    assert!(error.fault().unwrap().needs_operator() && error.to_string().contains("password"), "{error}");
    site.write_login("medindex", "renewed");
    until_it_works(|| catalog.put_setting("key", "3")).await;
    let value = until_it_works(|| catalog.setting("key")).await;
    assert_eq!(value.as_deref(), Some("3"));
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_or_takes_no_writes_is_unavailable_until_it_does() {
    if medindex_testbed::skipped("mariadb") {
        return;
    }
    let mut site = Site::start(MariaDbOptions::default());
    let mut options = site.options();
    options.connect_patience = Duration::from_secs(1);
    options.answer_patience = Duration::from_secs(2);
    let catalog = open_mysql_catalog(options).await.unwrap();
    catalog.put_setting("key", "1").await.unwrap();

    site.server.pause();
    for _ in 0..2 {
        let start = Instant::now();
        let error = catalog.put_setting("key", "2").await.unwrap_err();
        assert!(error.fault().unwrap().is_transient(), "{error}");
        let error = catalog.setting("key").await.unwrap_err();
        assert!(error.fault().unwrap().is_transient(), "{error}");
        assert!(start.elapsed() < Duration::from_secs(8), "took {:?}", start.elapsed());
    }
    site.server.resume();
    until_it_works(|| catalog.put_setting("key", "3")).await;
    assert_eq!(until_it_works(|| catalog.setting("key")).await.as_deref(), Some("3"));

    site.server.admin("SET GLOBAL read_only = ON").unwrap();
    let error = catalog.put_setting("key", "4").await.unwrap_err();
    assert!(error.fault().unwrap().is_transient() && error.to_string().contains("primary"), "{error}");
    assert_eq!(catalog.setting("key").await.unwrap().as_deref(), Some("3"));
    site.server.admin("SET GLOBAL read_only = OFF").unwrap();
    catalog.put_setting("key", "5").await.unwrap();

    // In order: the connections are told to end, and the next use makes others.
    site.server.restart().unwrap();
    catalog.put_setting("key", "6").await.unwrap();
    assert_eq!(catalog.setting("key").await.unwrap().as_deref(), Some("6"));
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_what_was_there_stays_readable() {
    if medindex_testbed::skipped("mariadb") {
        return;
    }
    // One file of limited length holds all tables.
    let arguments = ["--innodb-file-per-table=OFF", "--innodb-data-file-path=ibdata1:12M:autoextend:max:24M"];
    let arguments = arguments.map(str::to_owned).to_vec();
    let site = Site::start(MariaDbOptions { arguments, ..Default::default() });
    let catalog = open_mysql_catalog(site.options()).await.unwrap();
    let name = "n".repeat(8000);
    let mut accepted = Vec::new();
    let error = loop {
        assert!(accepted.len() < 10_000, "the disk does not fill up");
        let image = image(accepted.len() as u32, &name);
        let id = image.id;
        match catalog.accept_image(image).await {
            Ok(_) => accepted.push(id),
            Err(error) => break error,
        }
    };
    assert!(matches!(error.fault(), Some(Fault::DiskFull { .. })), "{error}");
    let records = catalog.images(&accepted).await.unwrap();
    assert!(records.iter().all(Option::is_some));
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_read_if_the_settings_name_one() {
    if medindex_testbed::skipped("mariadb") {
        return;
    }
    let site = Site::start(MariaDbOptions::default());
    let mut replica = site.server.start_replica().unwrap();
    let mut options = site.options();
    options.read_replica = Some(address(&replica));
    // The replica has to know the login and the database before it can be read.
    let asked = format!(
        "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '{}'",
        options.database
    );
    until_it_works(async || match replica.admin(&asked).unwrap().trim() {
        "1" => Ok(()),
        _ => Err("the database is not replicated yet"),
    })
    .await;
    let catalog = open_mysql_catalog(options).await.unwrap();
    catalog.put_setting("key", "value").await.unwrap();
    until_it_works(async || match catalog.setting("key").await {
        Ok(Some(value)) if value == "value" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    // It is the replica that is read: what is written while it is cut off is not seen.
    replica.admin("STOP SLAVE").unwrap();
    catalog.put_setting("key", "later").await.unwrap();
    assert_eq!(catalog.setting("key").await.unwrap().as_deref(), Some("value"));
    replica.admin("START SLAVE").unwrap();
    until_it_works(async || match catalog.setting("key").await {
        Ok(Some(value)) if value == "later" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    catalog.close().await;
    replica.stop();
}
