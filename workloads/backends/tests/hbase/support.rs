//! One server for all tests that do it no harm, and rows to store in it.

use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use half::f16;
use hbase_thrift::hbase::HbaseSyncClient;
use medindex_backends::hbase::{HbaseImageStore, HbaseOptions};
use medindex_backends::{FrameVector, ImageInformation, ImageRow};
use medindex_hbase_admin::tables::{image_table, segment_table};
use medindex_hbase_admin::{Compression, HbaseAdmin, TimeLimits};
use medindex_proto::{ImageId, RowKey};
use medindex_testbed::hbase::{Hbase, ThriftServers};
use parking_lot::Mutex;
use thrift::protocol::{TBinaryInputProtocol, TBinaryOutputProtocol};

pub(crate) const PARTITIONS: u32 = 9;

/// The server that tests share. It stops when the last test that uses it has ended.
pub(crate) struct Shared {
    hbase: Hbase,
}

/// The shared server, started by the first that asks.
pub(crate) fn shared() -> Arc<Shared> {
    static SERVER: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
    let mut server = SERVER.lock();
    if let Some(running) = server.upgrade() {
        return running;
    }
    let started = Arc::new(Shared { hbase: Hbase::start().unwrap() });
    *server = Arc::downgrade(&started);
    started
}

impl Shared {
    /// A new namespace with its tables.
    pub(crate) fn namespace(&self) -> String {
        new_namespace(&self.hbase.thrift2())
    }

    pub(crate) fn admin(&self) -> HbaseAdmin {
        HbaseAdmin::new(self.hbase.thrift2(), TimeLimits::default())
    }

    pub(crate) fn thrift2_address(&self) -> String {
        self.hbase.thrift2()
    }

    pub(crate) fn thrift1_address(&self) -> String {
        self.hbase.thrift1()
    }

    pub(crate) fn options(&self, namespace: &str) -> HbaseOptions {
        HbaseOptions::new(vec![self.hbase.thrift1()], namespace)
    }

    pub(crate) async fn open(&self, namespace: &str) -> HbaseImageStore {
        HbaseImageStore::open(&self.options(namespace)).await.unwrap()
    }

    /// A client that is not the adapter's, to look at cells and to damage them.
    pub(crate) fn raw(&self) -> RawClient {
        let stream = TcpStream::connect(self.hbase.thrift1()).unwrap();
        let reader = TBinaryInputProtocol::new(stream.try_clone().unwrap(), true);
        HbaseSyncClient::new(reader, TBinaryOutputProtocol::new(std::io::BufWriter::new(stream), true))
    }
}

pub(crate) type RawClient =
    HbaseSyncClient<TBinaryInputProtocol<TcpStream>, TBinaryOutputProtocol<std::io::BufWriter<TcpStream>>>;

/// Makes a namespace with its tables through the Thrift 2 server at an address.
pub(crate) fn new_namespace(thrift2: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let namespace = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let mut admin = HbaseAdmin::new(thrift2, TimeLimits::default());
    assert!(admin.ensure_namespace(&namespace).unwrap());
    admin.create_table(&image_table(&namespace, PARTITIONS, Compression::Snappy)).unwrap();
    admin.create_table(&segment_table(&namespace, Compression::Snappy)).unwrap();
    namespace
}

/// A new row key of a partition.
pub(crate) fn row_of(partition: u32) -> RowKey {
    let keys = std::iter::repeat_with(|| RowKey::new(&ImageId::new(), PARTITIONS));
    keys.into_iter().find(|key| key.partition() == partition).unwrap()
}

/// A new row key.
pub(crate) fn row() -> RowKey {
    RowKey::new(&ImageId::new(), PARTITIONS)
}

/// Bytes that no compression shortens, different for each seed.
pub(crate) fn noise(length: usize, seed: u32) -> bytes::Bytes {
    use rand::{Rng as _, SeedableRng as _};
    let mut bytes = vec![0; length];
    rand_pcg::Pcg64::seed_from_u64(u64::from(seed)).fill_bytes(&mut bytes);
    bytes.into()
}

/// A row with a file alone.
pub(crate) fn file(length: usize, seed: u32) -> ImageRow {
    ImageRow { bytes: Some(noise(length, seed)), information: None }
}

/// A row with information alone: one frame with a vector of 512 and a code of 32.
pub(crate) fn information(seed: u32) -> ImageRow {
    let vector = (0..512).map(|index| f16::from_f32((index + seed) as f32 / 1000.0)).collect();
    let frame = FrameVector { frame: 0, vector, code: noise(32, seed).to_vec() };
    let meta_json = format!(r#"{{"seed":{seed}}}"#);
    let information =
        ImageInformation { generation: 1, frames: vec![frame], meta_json, ..ImageInformation::default() };
    ImageRow { bytes: None, information: Some(information) }
}

/// A row as the pipeline writes it: a file of `length` bytes, and information.
pub(crate) fn image(length: usize, seed: u32) -> ImageRow {
    ImageRow { bytes: Some(noise(length, seed)), ..information(seed) }
}

/// Waits until a condition holds.
pub(crate) async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(3);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within three minutes");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
