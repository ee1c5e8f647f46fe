//! What the servers of HBase and HDFS share: jars, settings files, Java processes that are killed and started again.

use std::ffi::OsString;
// Writing to a string cannot fail: what it returns is dropped below.
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::java::{jars, java};
use crate::process::{Server, TestbedError};

/// How long a server may take to come up: other servers of other tests may start at the same time.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

const LOGGING: &str = "log4j.rootLogger=INFO,C
log4j.appender.C=org.apache.log4j.ConsoleAppender
log4j.appender.C.layout=org.apache.log4j.PatternLayout
log4j.appender.C.layout.ConversionPattern=%d{ISO8601} %-5p [%t] %c{2}: %m%n
log4j.logger.org.apache.zookeeper=WARN
";

/// What the launcher of the binary distribution tells Java 17.
const JAVA_17: [&str; 20] = [
    "-Dorg.apache.hbase.thirdparty.io.netty.tryReflectionSetAccessible=true",
    "--add-modules",
    "jdk.unsupported",
    "--add-opens",
    "java.base/java.nio=ALL-UNNAMED",
    "--add-opens",
    "java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens",
    "java.base/java.lang=ALL-UNNAMED",
    "--add-opens",
    "java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-opens",
    "java.base/java.lang.reflect=ALL-UNNAMED",
    "--add-opens",
    "java.base/java.util=ALL-UNNAMED",
    "--add-opens",
    "java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-exports",
    "java.base/jdk.internal.misc=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
];

/// Folder of a cluster on this machine: settings, logs and data of its servers. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Home {
    folder: TempDir,
    class_path: String,
}

impl Home {
    /// Makes the folder; its servers have the jars of `parts` and, after them, of HBase.
    ///
    /// # Errors
    /// [`TestbedError::FindPart`] when jars were not set up, [`TestbedError::Prepare`].
    pub(crate) fn new(name: &str, parts: &[&str]) -> Result<Self, TestbedError> {
        let jars = parts.iter().chain(&["hbase"]).map(|part| jars(part));
        let jars = jars.collect::<Result<Vec<_>, _>>()?;
        let folder =
            tempfile::Builder::new().prefix(&format!("medindex-{name}-")).tempdir().map_err(|source| {
                TestbedError::Prepare { server: name.to_owned(), path: std::env::temp_dir(), source }
            })?;
        let mut class_path = folder.path().join("conf").display().to_string();
        for jars in jars {
            let _ = write!(class_path, ":{}/*", jars.display());
        }
        let home = Self { folder, class_path };
        home.write("conf/log4j.properties", LOGGING)?;
        Ok(home)
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), TestbedError> {
        let path = self.path(name);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
        written.map_err(|source| TestbedError::Prepare { server: "hbase".to_owned(), path, source })
    }

    /// Writes a settings file of Hadoop's kind.
    pub(crate) fn write_settings(&self, name: &str, settings: &[(&str, String)]) -> Result<(), TestbedError> {
        let mut text = "<?xml version=\"1.0\"?>\n<configuration>\n".to_owned();
        for (key, value) in settings {
            let _ = writeln!(text, "  <property><name>{key}</name><value>{value}</value></property>");
        }
        text.push_str("</configuration>\n");
        self.write(name, &text)
    }

    /// A command that ends by itself.
    pub(crate) fn command(&self, heap_mib: u32, arguments: &[&str]) -> Command {
        let mut command = java(&self.class_path, heap_mib);
        command.args(JAVA_17).args(arguments);
        command
    }

    /// A process that is not started yet.
    pub(crate) fn process(&self, name: &str, heap_mib: u32, arguments: &[&str]) -> JavaProcess {
        JavaProcess {
            name: name.to_owned(),
            heap_mib,
            class_path: self.class_path.clone(),
            arguments: arguments.iter().map(OsString::from).collect(),
            folder: self.folder.path().to_owned(),
            starts: 0,
            server: None,
        }
    }
}

/// A Java process that keeps its settings, ports and data while it is killed and started again.
#[derive(Debug)]
pub(crate) struct JavaProcess {
    name: String,
    heap_mib: u32,
    class_path: String,
    arguments: Vec<OsString>,
    folder: PathBuf,
    starts: u32,
    server: Option<Server>,
}

impl JavaProcess {
    /// Starts it, with a log of its own for each start. What ran before is stopped first.
    ///
    /// # Errors
    /// [`TestbedError::Start`].
    pub(crate) fn start(&mut self) -> Result<&mut Server, TestbedError> {
        self.server = None;
        self.starts += 1;
        let mut command = java(&self.class_path, self.heap_mib);
        command.args(JAVA_17).args(&self.arguments);
        let log = self.folder.join(format!("{}-{}.log", self.name, self.starts));
        Ok(self.server.insert(Server::start(&self.name, &command, &log)?))
    }

    /// The process, if it was started and not killed.
    pub(crate) fn server(&mut self) -> Option<&mut Server> {
        self.server.as_mut()
    }

    /// Kills it at once. A process killed already stays so.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }
}

/// Settings of HBase that every cluster here has: names and addresses on loopback, no web pages, short waits.
pub(crate) fn hbase_settings(
    zookeeper_port: u16,
    region_servers: usize,
    temporary: &Path,
) -> Vec<(&'static str, String)> {
    let fixed = [
        ("hbase.zookeeper.quorum", "127.0.0.1"),
        ("hbase.master.hostname", "localhost"),
        ("hbase.regionserver.hostname", "localhost"),
        ("hbase.master.ipc.address", "127.0.0.1"),
        ("hbase.regionserver.ipc.address", "127.0.0.1"),
        ("hbase.master.info.port", "-1"),
        ("hbase.regionserver.info.port", "-1"),
        ("hbase.thrift.info.port", "-1"),
        ("hbase.regionserver.msginterval", "500"),
        ("hbase.regionserver.handler.count", "12"),
        // The Thrift servers give up before their clients do, so that no request lives on after its client went away.
        ("hbase.rpc.timeout", "8000"),
        ("hbase.client.operation.timeout", "15000"),
        ("hbase.client.meta.operation.timeout", "15000"),
        ("hbase.client.scanner.timeout.period", "15000"),
    ];
    let mut settings: Vec<(&'static str, String)> =
        fixed.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    settings.extend([
        ("hbase.zookeeper.property.clientPort", zookeeper_port.to_string()),
        ("hbase.tmp.dir", temporary.display().to_string()),
        ("hadoop.tmp.dir", temporary.join("hadoop").display().to_string()),
        ("hbase.master.wait.on.regionservers.mintostart", region_servers.to_string()),
        ("hbase.master.wait.on.regionservers.maxtostart", region_servers.to_string()),
    ]);
    settings
}

/// A Thrift server of generation 1 or 2, not started yet: a thread pool with the unframed binary protocol.
pub(crate) fn thrift(home: &Home, generation: u32, port: u16) -> JavaProcess {
    let main = match generation {
        1 => "org.apache.hadoop.hbase.thrift.ThriftServer",
        _ => "org.apache.hadoop.hbase.thrift2.ThriftServer",
    };
    let port = port.to_string();
    let arguments = [main, "--bind", "127.0.0.1", "-p", &port, "--infoport", "-1", "start"];
    home.process(&format!("thrift{generation}"), 320, &arguments)
}
