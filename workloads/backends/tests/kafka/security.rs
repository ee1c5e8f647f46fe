//! TLS, logins, and their renewal.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use medindex_backends::credentials::{LoginFiles, TlsFiles};
use medindex_backends::kafka::{KafkaOptions, KafkaQueue};
use medindex_backends::{Fault, Positions, Queue, QueueError};
use medindex_testbed::kafka::{Kafka, KafkaOptions as Cluster, Listener};
use tempfile::TempDir;

use super::{PATIENCE, follow, options, publish, receive};

fn broker() -> &'static Kafka {
    static BROKER: OnceLock<Kafka> = OnceLock::new();
    BROKER.get_or_init(|| Kafka::start_with(&Cluster { brokers: 1, secured: true }).unwrap())
}

/// Files with a login, written anew by each test.
struct Login(TempDir);

impl Login {
    fn new(user: &str, password: &str) -> Self {
        let login = Self(tempfile::tempdir().unwrap());
        fs::write(login.file("user"), user).unwrap();
        login.set_password(password);
        login
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Replaces the file as Kubernetes does: at once.
    fn set_password(&self, password: &str) {
        fs::write(self.file("new"), format!("{password}\n")).unwrap();
        fs::rename(self.file("new"), self.file("password")).unwrap();
    }

    fn files(&self) -> LoginFiles {
        LoginFiles::new(self.file("user"), self.file("password"))
    }
}

fn authorities(path: &Path) -> TlsFiles {
    TlsFiles { authorities: Some(path.to_owned()), ..TlsFiles::default() }
}

fn with_login(login: &Login) -> KafkaOptions {
    let broker = broker();
    let mut options = options(broker.bootstrap(Listener::Scram));
    options.tls = Some(authorities(&broker.certificates().unwrap().authority));
    options.login = Some(login.files());
    options
}

fn with_certificate() -> KafkaOptions {
    let broker = broker();
    let certificates = broker.certificates().unwrap();
    let mut options = options(broker.bootstrap(Listener::MutualTls));
    options.tls = Some(TlsFiles {
        authorities: Some(certificates.authority.clone()),
        certificate: Some(certificates.client_certificate.clone()),
        key: Some(certificates.client_key.clone()),
    });
    options
}

/// Publishes, consumes, commits and follows.
async fn round(options: KafkaOptions) {
    let queue = KafkaQueue::open(options).await.unwrap();
    queue.create_topic("work", 2).await.unwrap();
    let offset = publish(&queue, "x").await.unwrap();
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    let received = receive(&mut *consumer, 1).await;
    assert_eq!((received[0].offset, &received[0].payload[..]), (offset, &b"x"[..]));
    let done = Positions::from([(0, offset + 1)]);
    consumer.commit(&done).await.unwrap();
    assert_eq!(queue.committed("work", "group").await.unwrap(), done);
    let mut follower = queue.follow("work", Positions::from([(0, offset)])).await.unwrap();
    assert_eq!(follow(&mut *follower, 1).await, received);
    queue.trim("work", 0, offset + 1).await.unwrap();
}

async fn refused(options: KafkaOptions) -> String {
    let start = Instant::now();
    let error = KafkaQueue::open(options).await.err().unwrap();
    assert!(start.elapsed() < Duration::from_secs(9), "a refusal took {:?}: {error}", start.elapsed());
    assert!(matches!(error, QueueError::Open(Fault::Inaccessible { .. })), "{error}");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_travel_over_tls_with_a_login() {
    if medindex_testbed::skipped("kafka") {
        return;
    }
    broker().set_password("reader", "correct-horse").unwrap();
    round(with_login(&Login::new("reader", "correct-horse\n"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_travel_over_mutual_tls() {
    if medindex_testbed::skipped("kafka") {
        return;
    }
    round(with_certificate()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_or_user_is_refused_and_named_without_showing_it() {
    if medindex_testbed::skipped("kafka") {
        return;
    }
    broker().set_password("known", "the-right-one").unwrap();
    for user in ["known", "unknown"] {
        let login = Login::new(user, "the-wrong-one");
        let text = refused(with_login(&login)).await;
        assert!(text.contains(&login.file("password").display().to_string()), "{text}");
        assert!(text.contains("uthentication failed") && !text.contains("the-wrong-one"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_authority_is_not_trusted() {
    if medindex_testbed::skipped("kafka") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let others = medindex_testbed::certificates::Certificates::new(folder.path()).unwrap();
    let mut options = with_certificate();
    options.tls.as_mut().unwrap().authorities = Some(others.authority.clone());
    let text = refused(options).await;
    assert!(text.contains("certificate"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_certificate_of_the_authority_is_refused() {
    if medindex_testbed::skipped("kafka") {
        return;
    }
    let mut options = with_certificate();
    let tls = options.tls.as_mut().unwrap();
    (tls.certificate, tls.key) = (None, None);
    let text = refused(options).await;
    assert!(text.contains("certificate"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_and_broken_files_are_named() {
    if medindex_testbed::skipped("kafka") {
        return;
    }
    let login = Login::new("anybody", "x");
    fs::remove_file(login.file("password")).unwrap();
    let text = refused(with_login(&login)).await;
    assert!(text.contains(&login.file("password").display().to_string()), "{text}");
    let mut options = with_certificate();
    options.tls.as_mut().unwrap().key = Some(login.file("user"));
    let error = KafkaQueue::open(options).await.err().unwrap().to_string();
    assert!(error.contains("ssl.key.pem") || error.contains("private key"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_password_is_taken_up_by_publishers_consumers_and_followers() {
    if medindex_testbed::skipped("kafka") {
        return;
    }
    broker().set_password("renewed", "first").unwrap();
    let login = Login::new("renewed", "first");
    let mut options = with_login(&login);
    options.check_credentials = Duration::from_millis(200);
    options.publish_timeout = Duration::from_secs(5);
    let queue = KafkaQueue::open(options).await.unwrap();
    queue.create_topic("work", 1).await.unwrap();
    let offset = publish(&queue, "one").await.unwrap();
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    let received = receive(&mut *consumer, 1).await;
    consumer.commit(&Positions::from([(0, offset + 1)])).await.unwrap();
    let mut follower = queue.follow("work", Positions::from([(0, offset)])).await.unwrap();
    assert_eq!(follow(&mut *follower, 1).await, received);

    // The server asks connected clients for their password again and again, so the old one ends soon.
    broker().set_password("renewed", "second").unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match publish(&queue, "between").await {
            Err(QueueError::Publish { source: Fault::Inaccessible { .. }, .. }) => break,
            Err(error) => assert!(error.fault().is_some_and(Fault::is_transient), "{error}"),
            Ok(_) => {}
        }
        assert!(Instant::now() < deadline, "the old password is accepted for ever");
    }
    login.set_password("second");
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = publish(&queue, "two").await {
        assert!(Instant::now() < deadline, "the new password is not taken up: {error}");
    }
    let is_last = |deliveries: &[medindex_backends::Delivery]| {
        deliveries.iter().any(|delivery| &delivery.payload[..] == b"two")
    };
    // Refusals of the time between may still be told.
    let deadline = Instant::now() + PATIENCE;
    while !consumer.poll(100, Duration::from_millis(500)).await.is_ok_and(|all| is_last(&all)) {
        assert!(Instant::now() < deadline, "the consumer does not take the new password up");
    }
    let deadline = Instant::now() + PATIENCE;
    while !follower.poll(100, Duration::from_millis(500)).await.is_ok_and(|all| is_last(&all)) {
        assert!(Instant::now() < deadline, "the follower does not take the new password up");
    }
}
