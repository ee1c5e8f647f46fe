//! The catalog over a relational database: the same queries and migrations for `SQLite` and `MySQL`.
//!
//! What differs between databases (set-up of a connection, meaning of error codes) is in [`Dialect`]; the SQL
//! keeps to what both understand. Writes go through one connection, merged into few transactions
//! ([`writer`]); reads run beside them on several.
//!
//! For `MySQL`, the connection's set-up must choose READ COMMITTED, so that a writer sees what another
//! gateway has just inserted, and the database's collation must tell all texts apart (`mysql_catalog`).
//!
//! Measured with the example `throughput` (two cores shared with other work, load above 10, `SQLite` with a
//! sync on every commit): 150 to 2,000 images accepted a second by one caller, 2,900 to 6,400 by 64 at a
//! time; 1.3 ms of processor time for 100 records by id.

mod faults;
mod images;
mod journal;
mod pools;
mod queries;
mod rows;
mod writer;

use std::sync::Arc;
#[cfg(feature = "cluster")]
use std::time::Duration;

use async_trait::async_trait;
use medindex_proto::ImageId;
use sqlx::any::{AnyConnectOptions, install_default_drivers};
use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, AnyPool, Connection};

pub use faults::Dialect;

use self::images::{AcceptImages, DeleteImages, MarkDeleting, MarkFailed, MarkIndexed, SetLabels};
use self::journal::{AppendOperations, ClearAlarm, PutSetting, RaiseAlarm};
use self::pools::{Companion, Pools, options, pool, probe};
use self::queries::Reader;
use self::rows::{check_description, check_image, check_long, check_short};
use self::writer::Writer;
use crate::catalog::{
    Acceptance, Alarm, Catalog, CatalogError, Cursor, FailedImage, ImageCounts, ImageFilter, ImageRecord,
    ImageStatus, IndexedImage, ListOrder, MAX_PAGE, NewImage, Operation, OperationFilter, Page, Result,
};
use crate::fault::Fault;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Where a catalog's connections lead.
pub(crate) struct Connections {
    /// URL of the database that is written to.
    pub(crate) writer: String,
    /// URL of the one that is read: the same, or a replica.
    pub(crate) reader: String,
    /// Most connections for reading, at least 1.
    pub(crate) readers: u32,
}

/// A catalog in a relational database. Cloning shares it.
#[derive(Clone)]
pub struct SqlCatalog {
    dialect: Arc<Dialect>,
    pools: Pools,
    writer: Arc<Writer>,
    companion: Option<Companion>,
}

impl SqlCatalog {
    /// Opens the database at `url` with `readers` connections for reading, and brings its tables to this
    /// release's schema.
    ///
    /// # Errors
    /// [`CatalogError::Open`], [`CatalogError::Migrate`]; the latter with
    /// [`Fault::NewerSchema`](crate::Fault::NewerSchema) if a later release wrote it.
    pub async fn open(url: &str, readers: u32, dialect: Dialect) -> Result<Self> {
        let connections = Connections { writer: url.to_owned(), reader: url.to_owned(), readers };
        Self::connect(&connections, dialect).await
    }

    /// As [`SqlCatalog::open`], with connections of their own for reading.
    pub(crate) async fn connect(connections: &Connections, dialect: Dialect) -> Result<Self> {
        install_default_drivers();
        let open = |error| CatalogError::Open(dialect.fault(error));
        let writer = options(&connections.writer).map_err(open)?;
        let reader = options(&connections.reader).map_err(open)?;
        probe(&writer, &dialect).await.map_err(open)?;
        let writers = pool(1, writer.clone(), &dialect, dialect.writer_setup).await.map_err(open)?;
        migrate(&writers, &writer, &dialect).await?;
        let readers =
            pool(connections.readers, reader, &dialect, dialect.reader_setup).await.map_err(open)?;
        let dialect = Arc::new(dialect);
        let writer = Arc::new(Writer::start(writers.clone(), Arc::clone(&dialect)));
        Ok(Self { dialect, pools: Pools { writers, readers }, writer, companion: None })
    }

    /// Looks from time to time whether connections are to be made otherwise from now on; those that there are
    /// stay.
    #[cfg(feature = "cluster")]
    pub(crate) fn follow(
        mut self,
        every: Duration,
        mut look: impl FnMut() -> Option<Connections> + Send + 'static,
    ) -> Self {
        let (pools, place) = (self.pools.clone(), self.dialect.place.clone());
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(connections) = look() else { continue };
                match pools.connect_with(&connections) {
                    Ok(()) => tracing::info!(place, "new connections log in with the renewed files"),
                    Err(error) => tracing::error!(place, %error, "the renewed files cannot be used"),
                }
            }
        });
        self.companion = Some(Companion::new(&task));
        self
    }

    /// Finishes the writes that wait and closes the connections; every later use is refused.
    pub async fn close(&self) {
        if let Some(companion) = &self.companion {
            companion.stop();
        }
        self.writer.stop().await;
        self.pools.readers.close().await;
        self.pools.writers.close().await;
    }

    fn read(&self, what: &'static str) -> Reader<'_> {
        Reader { pool: &self.pools.readers, dialect: &self.dialect, what }
    }
}

/// Brings the tables to this release's schema; of several processes one at a time.
async fn migrate(writers: &AnyPool, options: &AnyConnectOptions, dialect: &Dialect) -> Result<()> {
    let refused = |error| CatalogError::Migrate(dialect.fault(error));
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
    // Whoever has the lock has it until its connection ends, also by an error.
    let mut lock = None;
    if let Some(query) = dialect.migration_lock {
        let mut connection = AnyConnection::connect_with(options).await.map_err(refused)?;
        let taken: Option<i64> =
            sqlx::query_scalar(query).fetch_one(&mut connection).await.map_err(refused)?;
        if taken != Some(1) {
            let source = "another process has been changing its tables for long".into();
            return Err(CatalogError::Migrate(Fault::Unavailable { place: dialect.place.clone(), source }));
        }
        lock = Some(connection);
    }
    MIGRATIONS.run(writers).await.map_err(|error| dialect.migrate_error(error, newest))?;
    if let Some(connection) = lock {
        connection.close().await.map_err(refused)?;
    }
    Ok(())
}

#[async_trait]
impl Catalog for SqlCatalog {
    async fn accept_images(&self, images: Vec<NewImage>) -> Result<Vec<Acceptance>> {
        images.iter().try_for_each(check_image)?;
        self.writer.write(AcceptImages(images)).await
    }

    async fn mark_indexed(&self, images: Vec<IndexedImage>) -> Result<()> {
        images.iter().filter_map(|image| image.description.as_ref()).try_for_each(check_description)?;
        self.writer.write(MarkIndexed(images)).await
    }

    async fn mark_failed(&self, images: Vec<FailedImage>) -> Result<()> {
        images.iter().try_for_each(|image| check_long("reason", &image.reason))?;
        self.writer.write(MarkFailed(images)).await
    }

    async fn set_labels(&self, labels: Vec<(ImageId, String)>) -> Result<()> {
        labels.iter().try_for_each(|(_, label)| check_short("label", label))?;
        self.writer.write(SetLabels(labels)).await
    }

    async fn mark_deleting(&self, ids: &[ImageId]) -> Result<Vec<ImageId>> {
        self.writer.write(MarkDeleting(ids.to_vec())).await
    }

    async fn delete_images(&self, ids: &[ImageId]) -> Result<u64> {
        self.writer.write(DeleteImages(ids.to_vec())).await
    }

    async fn images(&self, ids: &[ImageId]) -> Result<Vec<Option<ImageRecord>>> {
        self.read("images").images(ids).await
    }

    async fn list_images(
        &self,
        filter: &ImageFilter,
        order: ListOrder,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<ImageRecord>> {
        self.read("images").list_images(filter, order, after, limit).await
    }

    async fn ids_of_patient(&self, patient_id: &str, organisation: Option<&str>) -> Result<Vec<ImageId>> {
        self.read("a patient's images").ids_of_patient(patient_id, organisation).await
    }

    async fn stale_received(&self, before_ms: i64, limit: usize) -> Result<Vec<ImageRecord>> {
        let filter = ImageFilter {
            status: Some(ImageStatus::Received),
            received_before_ms: Some(before_ms),
            ..ImageFilter::default()
        };
        let page =
            self.read("waiting images").list_images(&filter, ListOrder::OldestFirst, None, limit).await?;
        Ok(page.items)
    }

    async fn counts(&self) -> Result<ImageCounts> {
        self.read("counts").counts().await
    }

    async fn append_operations(&self, operations: Vec<Operation>) -> Result<()> {
        operations.iter().try_for_each(Operation::check)?;
        self.writer.write(AppendOperations(operations)).await
    }

    async fn list_operations(
        &self,
        filter: &OperationFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Operation>> {
        self.read("operations").list_operations(filter, after, limit).await
    }

    async fn raise_alarm(&self, kind: &str, subject: &str, detail: &str, at_ms: i64) -> Result<bool> {
        check_short("kind", kind)?;
        check_short("subject", subject)?;
        check_long("detail", detail)?;
        let (kind, subject, detail) = (kind.to_owned(), subject.to_owned(), detail.to_owned());
        self.writer.write(RaiseAlarm { kind, subject, detail, at_ms }).await
    }

    async fn clear_alarm(&self, kind: &str, subject: &str, at_ms: i64, unseen_since_ms: i64) -> Result<bool> {
        let (kind, subject) = (kind.to_owned(), subject.to_owned());
        self.writer.write(ClearAlarm { kind, subject, at_ms, unseen_since_ms }).await
    }

    async fn open_alarms(&self) -> Result<Vec<Alarm>> {
        self.read("alarms").alarms(true, MAX_PAGE).await
    }

    async fn recent_alarms(&self, limit: usize) -> Result<Vec<Alarm>> {
        self.read("alarms").alarms(false, limit).await
    }

    async fn setting(&self, key: &str) -> Result<Option<String>> {
        self.read("a setting").setting(key).await
    }

    async fn put_setting(&self, key: &str, value: &str) -> Result<()> {
        check_short("setting key", key)?;
        check_long("setting", value)?;
        self.writer.write(PutSetting { key: key.to_owned(), value: value.to_owned() }).await
    }

    async fn close(&self) {
        SqlCatalog::close(self).await;
    }
}
