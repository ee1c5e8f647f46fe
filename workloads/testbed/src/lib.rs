//! Real servers on loopback for the tests, each in a process of its own, in a folder of its own, on ports of its own.
//!
//! Guarantees: what a test starts is stopped by its process id when the value is dropped, and killed by the kernel when the test
//! process dies. Several servers of a kind run beside one another. A server that does not come up is an error that shows the end of its log.
//! Assumes that `tools/setup.sh servers` was run (`make test` does).
//!
//! `MEDINDEX_SKIP_SERVERS=kafka,hbase` leaves the suites of those servers out, by name and with a line that says so; nothing is ever
//! left out silently.

pub mod certificates;
pub mod clock;
pub mod deep_lesion;
mod hadoop;
pub mod hbase;
pub mod hdfs;
pub mod java;
pub mod kafka;
pub mod mariadb;
pub mod phoenix;
pub mod ports;
pub mod process;
pub mod programs;
pub mod redis;
pub mod settings;
pub mod skip;
pub mod tls_proxy;

pub use process::{Server, TestbedError};
pub use skip::{skipped, tell};
