//! HBase administration through its Thrift 2 server: namespaces and pre-split tables.
//!
//! Thrift 1, which the image store speaks, cannot create a table with split keys; Thrift 2 can. [`HbaseAdmin`] creates a table from a
//! [`TableDescription`], reads back what is there as a [`TableState`], and tells how the two differ ([`differences`]), so that whoever
//! looks after a table (the operator, the tests) can compare and correct it as often as it likes. [`tables`] has the descriptions of the
//! tables that MedIndex keeps. Nothing here knows what is in the tables.
//!
//! Guarantees
//! - A table that [`HbaseAdmin::create_table`] returned is there with exactly the regions and families described, and serves.
//! - Every call ends within the time limits given ([`TimeLimits`]); a call that ran out of time may still take effect.
//! - Nothing is destroyed but by the calls named so.
//!
//! Assumptions: the Thrift 2 server is of the default kind, a thread pool with the unframed binary protocol. A framed one (`-f`, `-hsha`,
//! `-nonblocking`, `-threadedselector`) takes the whole frame of a request for each split key and makes regions that nobody asked for;
//! it cannot be reached through this client, which speaks unframed only, and the regions are read back and compared all the same. The
//! server has no TLS of its own for this protocol: a proxy ends it ([`HbaseAdmin::with_tls`]).
//!
//! Failure modes: see [`HbaseAdminError`]. Calls block: call from a thread that may.

mod admin;
mod connection;
mod description;
mod difference;
mod error;
mod hbase2;
mod state;
pub mod tables;
mod wire;

pub use admin::HbaseAdmin;
pub use connection::TimeLimits;
pub use description::{BloomFilter, Compression, FamilyDescription, TableDescription, TableName};
pub use difference::{Difference, differences};
pub use error::{HbaseAdminError, Result};
pub use state::{Region, TableState};
