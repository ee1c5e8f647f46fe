//! HBase standalone: master, region server and `ZooKeeper` in one process, over the local file system, and both Thrift servers.

use crate::hadoop::{Home, JavaProcess, PATIENCE, hbase_settings, thrift};
use crate::ports::free_port;
use crate::process::TestbedError;

/// A process of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HbaseProcess {
    /// Master, region server and `ZooKeeper`.
    Server,
    /// The Thrift 1 server: rows and scans.
    Thrift1,
    /// The Thrift 2 server: tables.
    Thrift2,
}

/// An `HBase`, however it runs, by what its clients need to know.
pub trait ThriftServers {
    /// Address of the Thrift 1 server: rows and scans.
    fn thrift1(&self) -> String;

    /// Address of the Thrift 2 server: tables.
    fn thrift2(&self) -> String;
}

/// A running HBase; dropping it kills the processes and removes the data.
#[derive(Debug)]
pub struct Hbase {
    server: JavaProcess,
    thrift1: JavaProcess,
    thrift2: JavaProcess,
    thrift1_port: u16,
    thrift2_port: u16,
    zookeeper_port: u16,
    // Last: removed when the processes are gone.
    home: Home,
}

impl Hbase {
    /// Starts the three processes, on ports of their own, and waits until they serve.
    ///
    /// # Errors
    /// [`TestbedError`] when the jars are missing or a process does not come up.
    pub fn start() -> Result<Self, TestbedError> {
        Self::start_in(Home::new("hbase", &[])?, &[])
    }

    /// Starts it in a folder, with further settings.
    pub(crate) fn start_in(home: Home, more: &[(&'static str, &str)]) -> Result<Self, TestbedError> {
        let [zookeeper, master, region_server, thrift1_port, thrift2_port] =
            std::array::from_fn(|_| free_port());
        let mut settings = hbase_settings(zookeeper, 1, &home.path("temporary"));
        settings.extend([
            ("hbase.cluster.distributed", "false".to_owned()),
            ("hbase.rootdir", format!("file://{}", home.path("data").display())),
            ("hbase.zookeeper.property.dataDir", home.path("zookeeper").display().to_string()),
            ("hbase.master.port", master.to_string()),
            ("hbase.regionserver.port", region_server.to_string()),
            ("hbase.localcluster.assign.random.ports", "false".to_owned()),
            // The local file system cannot promise what HBase asks of HDFS; a killed process loses nothing all the same.
            ("hbase.unsafe.stream.capability.enforce", "false".to_owned()),
        ]);
        settings.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
        home.write_settings("conf/hbase-site.xml", &settings)?;
        let arguments = ["org.apache.hadoop.hbase.master.HMaster", "--localRegionServers=1", "start"];
        let mut hbase = Self {
            server: home.process("hbase", 1024, &arguments),
            thrift1: thrift(&home, 1, thrift1_port),
            thrift2: thrift(&home, 2, thrift2_port),
            thrift1_port,
            thrift2_port,
            zookeeper_port: zookeeper,
            home,
        };
        tracing::info!(folder = %hbase.home.path("").display(), "starting HBase");
        hbase.restart(HbaseProcess::Server)?;
        // Both at once: most of their start is waiting.
        hbase.thrift1.start()?;
        hbase.thrift2.start()?;
        hbase.wait_for(HbaseProcess::Thrift1)?;
        hbase.wait_for(HbaseProcess::Thrift2)?;
        Ok(hbase)
    }

    /// The folder with its settings and jars, for commands that are its clients.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// Port of its `ZooKeeper`, where Java clients begin.
    pub fn zookeeper_port(&self) -> u16 {
        self.zookeeper_port
    }

    /// Kills a process at once; its data stays.
    pub fn kill(&mut self, process: HbaseProcess) {
        self.process(process).kill();
    }

    /// Starts a process again, on the same ports and data, and waits until it serves.
    ///
    /// # Errors
    /// [`TestbedError`] when it does not come up.
    pub fn restart(&mut self, process: HbaseProcess) -> Result<(), TestbedError> {
        self.process(process).start()?;
        self.wait_for(process)
    }

    /// Halts a process: it keeps its connections and answers nothing.
    pub fn pause(&mut self, process: HbaseProcess) {
        if let Some(server) = self.process(process).server() {
            server.pause();
        }
    }

    /// Lets a halted process go on.
    pub fn resume(&mut self, process: HbaseProcess) {
        if let Some(server) = self.process(process).server() {
            server.resume();
        }
    }

    fn process(&mut self, process: HbaseProcess) -> &mut JavaProcess {
        match process {
            HbaseProcess::Server => &mut self.server,
            HbaseProcess::Thrift1 => &mut self.thrift1,
            HbaseProcess::Thrift2 => &mut self.thrift2,
        }
    }

    fn wait_for(&mut self, process: HbaseProcess) -> Result<(), TestbedError> {
        let port = match process {
            HbaseProcess::Server => None,
            HbaseProcess::Thrift1 => Some(self.thrift1_port),
            HbaseProcess::Thrift2 => Some(self.thrift2_port),
        };
        match (self.process(process).server(), port) {
            (None, _) => Ok(()),
            (Some(server), None) => server.wait_for_log("Master has completed initialization", PATIENCE),
            (Some(server), Some(port)) => server.wait_for_port(port, PATIENCE),
        }
    }
}

impl ThriftServers for Hbase {
    fn thrift1(&self) -> String {
        format!("127.0.0.1:{}", self.thrift1_port)
    }

    fn thrift2(&self) -> String {
        format!("127.0.0.1:{}", self.thrift2_port)
    }
}

impl Drop for Hbase {
    fn drop(&mut self) {
        for process in [HbaseProcess::Thrift1, HbaseProcess::Thrift2, HbaseProcess::Server] {
            self.process(process).kill();
        }
    }
}
