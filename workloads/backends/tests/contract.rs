//! The embedded adapters keep what the ports promise.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::sync::Arc;

use async_trait::async_trait;
use medindex_backends::contract::{self, Factory, Place};
use medindex_backends::embedded::{EmbeddedStore, MemoryCache, open_catalog};
use medindex_backends::sql_catalog::SqlCatalog;
use medindex_backends::{Cache, Catalog, ImageStore, Queue};
use parking_lot::Mutex;
use tempfile::TempDir;

struct Folders;

/// A folder, and what is open in it.
struct Folder<T> {
    folder: TempDir,
    open: Mutex<Option<T>>,
}

impl<T> Folder<T> {
    fn new() -> Arc<Self> {
        // An awkward name: spaces, a percent sign, a question mark, letters beyond ASCII.
        let folder = tempfile::Builder::new().prefix("Bilder 100% röntgen?#").tempdir().unwrap();
        Arc::new(Self { folder, open: Mutex::new(None) })
    }
}

impl Folder<EmbeddedStore> {
    async fn open_store(&self) -> Arc<EmbeddedStore> {
        let store = EmbeddedStore::open(self.folder.path()).await.unwrap();
        *self.open.lock() = Some(store.clone());
        Arc::new(store)
    }

    async fn close_store(&self) {
        let store = self.open.lock().take().unwrap();
        store.close().await;
    }
}

#[async_trait]
impl Place<dyn ImageStore> for Folder<EmbeddedStore> {
    async fn open(&self) -> Arc<dyn ImageStore> {
        self.open_store().await
    }
    async fn close(&self, _port: Arc<dyn ImageStore>) {
        self.close_store().await;
    }
}

#[async_trait]
impl Place<dyn Queue> for Folder<EmbeddedStore> {
    async fn open(&self) -> Arc<dyn Queue> {
        self.open_store().await
    }
    async fn close(&self, _port: Arc<dyn Queue>) {
        self.close_store().await;
    }
}

#[async_trait]
impl Place<dyn Catalog> for Folder<SqlCatalog> {
    async fn open(&self) -> Arc<dyn Catalog> {
        let catalog = open_catalog(self.folder.path()).await.unwrap();
        *self.open.lock() = Some(catalog.clone());
        Arc::new(catalog)
    }
    async fn close(&self, _port: Arc<dyn Catalog>) {
        let catalog = self.open.lock().take().unwrap();
        catalog.close().await;
    }
}

struct Memory;

#[async_trait]
impl Place<dyn Cache> for Memory {
    async fn open(&self) -> Arc<dyn Cache> {
        Arc::new(MemoryCache::new(64 << 20))
    }
    async fn close(&self, _port: Arc<dyn Cache>) {}
}

#[async_trait]
impl Factory<dyn ImageStore> for Folders {
    async fn place(&self) -> Arc<dyn Place<dyn ImageStore>> {
        Folder::<EmbeddedStore>::new()
    }
}

#[async_trait]
impl Factory<dyn Queue> for Folders {
    async fn place(&self) -> Arc<dyn Place<dyn Queue>> {
        Folder::<EmbeddedStore>::new()
    }
}

#[async_trait]
impl Factory<dyn Catalog> for Folders {
    async fn place(&self) -> Arc<dyn Place<dyn Catalog>> {
        Folder::<SqlCatalog>::new()
    }
}

#[async_trait]
impl Factory<dyn Cache> for Memory {
    async fn place(&self) -> Arc<dyn Place<dyn Cache>> {
        Arc::new(Memory)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_store_is_an_image_store() {
    contract::image_store::run(Folders).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_store_is_a_queue() {
    contract::queue::run(Folders).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sqlite_catalog_is_a_catalog() {
    contract::catalog::run(Folders).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_cache_is_a_cache() {
    contract::cache::run(Memory).await;
}
