//! The Thrift 2 client, generated from `thrift/hbase2.thrift`.
//!
//! Made with Debian's `thrift-compiler` 0.17, the version of the crate `thrift`, in this crate's folder:
//!
//! ```text
//! thrift --gen rs -out /tmp thrift/hbase2.thrift && cp /tmp/hbase2.rs src/hbase2/generated.rs
//! ```
//!
//! Drift. Whether the Rust is what the IDL gives: run the command and see that `git diff` shows nothing. Whether the IDL is what a later
//! HBase has: fetch `org.apache.hbase:hbase-thrift:VERSION:jar:sources` with Maven's `dependency:copy`, and compare the structs, enums
//! and functions named in `thrift/hbase2.thrift` with `org/apache/hadoop/hbase/thrift2/hbase.thrift` in it: names, types and ids must be
//! the same; what is there beyond them does not matter, because unknown fields are skipped. The tests then say whether the server agrees.

#[allow(clippy::all, clippy::pedantic, clippy::restriction, dead_code, missing_docs, unreachable_pub)]
mod generated;

pub(crate) use generated::{
    TBloomFilterType, TColumnFamilyDescriptor, TCompressionAlgorithm, THBaseServiceSyncClient, TIOError,
    TNamespaceDescriptor, TTHBaseServiceSyncClient, TTableDescriptor, TTableName, TThriftServerType,
};
