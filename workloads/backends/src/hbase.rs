//! The image store on `HBase`, through its Thrift 1 servers.
//!
//! Rows lie in the table of images in the cells of [`crate::cells`], with `MD:checksums` beside a file's length; blobs lie in the table
//! of segments. The tables are made by `medindex-hbase-admin`, never here: a missing one is named, with what to do.
//!
//! Guarantees: those of [`crate::image_store`]. A request that fails for a passing reason (a region that moves, a busy or dying server,
//! a broken connection) is tried again, on another Thrift server if there is one, until [`HbaseOptions::patience`] has ended; one that
//! cannot succeed fails at once. A file is read as it was written or not at all: its checksums are compared at each read.
//!
//! Assumptions
//! - Rows and blobs as [`crate::image_store`] assumes; blobs may have several writers.
//! - The clocks of the region servers agree to within the time between two puts of one row, as `HBase` itself assumes: it orders the
//!   values of a cell by the time of the server that took them. A row that is put again within the millisecond in which it was deleted
//!   stays deleted; the pipeline gives a new id to a new image, so it never does that.
//! - A Thrift server gives up a request (`hbase.client.operation.timeout`) before its client does ([`HbaseOptions::answer_timeout`]).
//! - The Thrift servers have the memory for [`HbaseOptions::connections`] requests of 8 MiB, and answers of up to 128 MiB where files
//!   of 4 MiB suddenly follow small ones.
//!
//! Failure modes: [`Fault::Unavailable`] while no server answers; [`Fault::Inaccessible`] for tables, families and permissions that are
//! not there. A put of a file over 8 MiB takes several requests: while it replaces another file, readers of that row wait, and get
//! `JoinCells` if the writer died; the put must be done again, as after every failed put.

mod blobs;
mod caller;
mod columns;
mod connection;
mod faults;
mod options;
mod pace;
mod pool;
mod read;
mod tls;
mod write;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hbase_thrift::hbase::THbaseSyncClient as _;
use medindex_proto::RowKey;
use medindex_proto::names::{FAMILY_DATA, FAMILY_INFORMATION};

pub use options::HbaseOptions;
pub use tls::RenewedTls;

use crate::fault::Fault;
use crate::image_store::{BlobInfo, Columns, ImageRow, ImageStore, ImageStoreError, Result, check_blob_name};
use caller::Table;
use pool::Pool;

/// The image store on `HBase`. Clones share its connections; they close when the last one is dropped.
#[derive(Clone)]
pub struct HbaseImageStore {
    images: Table,
    segments: Table,
}

impl HbaseImageStore {
    /// Connects, and makes sure that both tables are there with their families.
    ///
    /// # Errors
    /// [`ImageStoreError::Open`]: [`Fault::Inaccessible`] naming the table, family or TLS file that is missing; [`Fault::Unavailable`]
    /// when no server answered within the patience.
    pub async fn open(options: &HbaseOptions) -> Result<Self> {
        let pool = Arc::new(Pool::new(options).map_err(ImageStoreError::Open)?);
        let images = Table::new(&pool, options, &options.images);
        let segments = Table::new(&pool, options, &options.segments);
        for table in [&images, &segments] {
            check_families(table).await.map_err(ImageStoreError::Open)?;
        }
        Ok(Self { images, segments })
    }
}

async fn check_families(table: &Table) -> Result<(), Fault> {
    let name = table.wire_name();
    let found = table.call(move |client| client.get_column_descriptors(name.clone())).await?;
    let missing = [FAMILY_DATA, FAMILY_INFORMATION]
        .into_iter()
        .find(|family| !found.contains_key(format!("{family}:").as_bytes()));
    match missing {
        None => Ok(()),
        Some(family) => {
            let source = format!(
                "the table lacks the column family {family}: it was not made for this, or by another release; compare it with what \
                 the operator creates"
            );
            Err(Fault::Inaccessible { place: table.place(), source: source.into() })
        }
    }
}

#[async_trait]
impl ImageStore for HbaseImageStore {
    async fn put_many(&self, rows: Vec<(RowKey, ImageRow)>) -> Result<()> {
        let count = rows.len();
        let rows = write::split_rows(rows)?;
        let written = write::put_rows(&self.images, rows).await;
        written.map_err(|source| ImageStoreError::PutRows { rows: count, source })
    }

    async fn get_many(&self, rows: &[RowKey], columns: Columns) -> Result<Vec<Option<ImageRow>>> {
        let read = read::get_rows(&self.images, rows, columns).await;
        read.map_err(|error| error.of(|source| ImageStoreError::GetRows { rows: rows.len(), source }))
    }

    async fn delete_many(&self, rows: &[RowKey]) -> Result<()> {
        let keys = rows.iter().map(|row| row.as_str().into());
        let deleted = write::delete_rows(&self.images, keys).await;
        deleted.map_err(|source| ImageStoreError::DeleteRows { rows: rows.len(), source })
    }

    async fn scan(
        &self,
        partition: u32,
        columns: Columns,
        after: Option<&RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, ImageRow)>> {
        let read = read::scan_rows(&self.images, partition, columns, after, limit).await;
        read.map_err(|error| error.of(|source| ImageStoreError::ScanRows { partition, source }))
    }

    async fn put_blob(&self, name: &str, bytes: Bytes) -> Result<()> {
        check_blob_name(name)?;
        let written = blobs::put(&self.segments, name, &bytes).await;
        written.map_err(|source| ImageStoreError::PutBlob { name: name.to_owned(), source })
    }

    async fn get_blob(&self, name: &str) -> Result<Option<Bytes>> {
        self.get_blob_range(name, 0, usize::MAX).await
    }

    async fn get_blob_range(&self, name: &str, offset: u64, length: usize) -> Result<Option<Bytes>> {
        check_blob_name(name)?;
        let read = blobs::get(&self.segments, name, offset, length).await;
        read.map_err(|source| ImageStoreError::GetBlob { name: name.to_owned(), source })
    }

    async fn delete_blob(&self, name: &str) -> Result<()> {
        check_blob_name(name)?;
        let deleted = blobs::delete(&self.segments, name).await;
        deleted.map_err(|source| ImageStoreError::DeleteBlob { name: name.to_owned(), source })
    }

    async fn list_blobs(&self, prefix: &str) -> Result<Vec<BlobInfo>> {
        let listed = blobs::list(&self.segments, prefix).await;
        listed.map_err(|source| ImageStoreError::ListBlobs { prefix: prefix.to_owned(), source })
    }

    /// Reads no data. What it deletes are rows of up to 4 MiB.
    async fn sweep_blobs(&self, age: Duration) -> Result<usize> {
        let swept = blobs::sweep(&self.segments, age).await;
        swept.map_err(|source| ImageStoreError::ListBlobs { prefix: String::new(), source })
    }
}
