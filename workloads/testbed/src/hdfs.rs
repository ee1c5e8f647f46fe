//! HBase as it runs on machines of its own: HDFS (a name node, two data nodes), `ZooKeeper`, a master, two region servers and both Thrift
//! servers, nine processes.
//!
//! A region server that is killed has its regions taken over by the other once `ZooKeeper` has missed it for ten seconds.

use crate::hadoop::{Home, JavaProcess, PATIENCE, hbase_settings, thrift};
use crate::hbase::ThriftServers;
use crate::ports::free_port;
use crate::process::{TestbedError, run};

const DATA_NODES: usize = 2;
const REGION_SERVERS: usize = 2;
/// How long `ZooKeeper` waits for a silent region server, in milliseconds.
const SESSION: u32 = 10_000;

/// Ports that the settings name.
#[derive(Debug)]
struct Ports {
    zookeeper: u16,
    name_node: u16,
    name_node_web: u16,
    master: u16,
    thrift1: u16,
    thrift2: u16,
}

/// A running cluster; dropping it kills the processes and removes the data.
#[derive(Debug)]
pub struct HdfsCluster {
    zookeeper: JavaProcess,
    name_node: JavaProcess,
    data_nodes: Vec<JavaProcess>,
    master: JavaProcess,
    region_servers: Vec<JavaProcess>,
    region_ports: [u16; REGION_SERVERS],
    thrift1: JavaProcess,
    thrift2: JavaProcess,
    ports: Ports,
    // Last: removed when the processes are gone.
    home: Home,
}

impl HdfsCluster {
    /// Starts all of it, on ports of its own, and waits until it serves.
    ///
    /// # Errors
    /// [`TestbedError`] when the jars are missing or a process does not come up.
    pub fn start() -> Result<Self, TestbedError> {
        let home = Home::new("hdfs", &[])?;
        let ports = Ports {
            zookeeper: free_port(),
            name_node: free_port(),
            name_node_web: free_port(),
            master: free_port(),
            thrift1: free_port(),
            thrift2: free_port(),
        };
        write_settings(&home, &ports)?;
        let region_ports: [u16; REGION_SERVERS] = std::array::from_fn(|_| free_port());
        let mut cluster = Self {
            zookeeper: zookeeper(&home),
            name_node: home.process("name-node", 256, &[NAME_NODE]),
            data_nodes: (1..=DATA_NODES).map(|number| data_node(&home, number)).collect(),
            master: home.process("master", 512, &["org.apache.hadoop.hbase.master.HMaster", "start"]),
            region_servers: (1..)
                .zip(region_ports)
                .map(|(number, port)| region_server(&home, number, port))
                .collect(),
            region_ports,
            thrift1: thrift(&home, 1, ports.thrift1),
            thrift2: thrift(&home, 2, ports.thrift2),
            ports,
            home,
        };
        cluster.start_storage()?;
        cluster.start_hbase()?;
        Ok(cluster)
    }

    fn start_storage(&mut self) -> Result<(), TestbedError> {
        tracing::info!(folder = %self.home.path("").display(), "starting HDFS");
        let format = ["-format", "-nonInteractive", "-force"];
        run(&mut self.home.command(256, &[&[NAME_NODE], &format[..]].concat()))?;
        self.zookeeper.start()?;
        self.name_node.start()?.wait_for_port(self.ports.name_node, PATIENCE)?;
        for node in &mut self.data_nodes {
            node.start()?;
        }
        for node in &mut self.data_nodes {
            if let Some(server) = node.server() {
                server.wait_for_log("successfully registered with NN", PATIENCE)?;
            }
        }
        match self.zookeeper.server() {
            Some(server) => server.wait_for_port(self.ports.zookeeper, PATIENCE),
            None => Ok(()),
        }
    }

    fn start_hbase(&mut self) -> Result<(), TestbedError> {
        self.master.start()?;
        for server in &mut self.region_servers {
            server.start()?;
        }
        if let Some(master) = self.master.server() {
            master.wait_for_log("Master has completed initialization", PATIENCE)?;
        }
        self.thrift1.start()?;
        self.thrift2.start()?;
        for (process, port) in
            [(&mut self.thrift1, self.ports.thrift1), (&mut self.thrift2, self.ports.thrift2)]
        {
            if let Some(server) = process.server() {
                server.wait_for_port(port, PATIENCE)?;
            }
        }
        Ok(())
    }

    /// Moves all regions of region server 0 or 1 to the other one, as an administrator does before he stops it.
    ///
    /// # Errors
    /// [`TestbedError::Run`] with what HBase's tool printed.
    ///
    /// # Panics
    /// When there is no such region server.
    pub fn move_regions_from(&self, number: usize) -> Result<(), TestbedError> {
        let server = format!("localhost:{}", self.region_ports[number]);
        let moved = self.home.path(&format!("moved-{number}")).display().to_string();
        let mover = "org.apache.hadoop.hbase.util.RegionMover";
        let arguments = [mover, "-o", "unload", "-r", &server, "-f", &moved, "-t", "120"];
        run(&mut self.home.command(256, &arguments)).map(drop)
    }

    /// Kills region server 0 or 1 at once.
    ///
    /// # Panics
    /// When there is no such region server.
    pub fn kill_region_server(&mut self, number: usize) {
        self.region_servers[number].kill();
    }

    /// Starts region server 0 or 1 again, and waits until the master knows it.
    ///
    /// # Errors
    /// [`TestbedError`] when it does not come up.
    ///
    /// # Panics
    /// When there is no such region server.
    pub fn restart_region_server(&mut self, number: usize) -> Result<(), TestbedError> {
        self.region_servers[number].start()?.wait_for_log("Serving as", PATIENCE)
    }
}

impl ThriftServers for HdfsCluster {
    fn thrift1(&self) -> String {
        format!("127.0.0.1:{}", self.ports.thrift1)
    }

    fn thrift2(&self) -> String {
        format!("127.0.0.1:{}", self.ports.thrift2)
    }
}

impl Drop for HdfsCluster {
    /// Clients before what they use.
    fn drop(&mut self) {
        self.thrift1.kill();
        self.thrift2.kill();
        self.region_servers.iter_mut().for_each(JavaProcess::kill);
        self.master.kill();
        self.data_nodes.iter_mut().for_each(JavaProcess::kill);
        self.name_node.kill();
        self.zookeeper.kill();
    }
}

const NAME_NODE: &str = "org.apache.hadoop.hdfs.server.namenode.NameNode";

fn zookeeper(home: &Home) -> JavaProcess {
    let settings = home.path("conf/zoo.cfg").display().to_string();
    home.process("zookeeper", 128, &["org.apache.zookeeper.server.quorum.QuorumPeerMain", &settings])
}

fn data_node(home: &Home, number: usize) -> JavaProcess {
    let name = format!("data-node{number}");
    let folder = format!("-Ddfs.datanode.data.dir=file://{}", home.path(&name).display());
    let port = |setting: &str| format!("-Ddfs.datanode.{setting}=127.0.0.1:{}", free_port());
    let [data, web, calls] = ["address", "http.address", "ipc.address"].map(port);
    let main = "org.apache.hadoop.hdfs.server.datanode.DataNode";
    let arguments = [main, &folder, &data, &web, &calls, "-Ddfs.datanode.hostname=localhost"];
    home.process(&name, 256, &arguments)
}

fn region_server(home: &Home, number: usize, port: u16) -> JavaProcess {
    let port = format!("-Dhbase.regionserver.port={port}");
    let main = "org.apache.hadoop.hbase.regionserver.HRegionServer";
    home.process(&format!("region-server{number}"), 768, &[main, &port, "start"])
}

fn write_settings(home: &Home, ports: &Ports) -> Result<(), TestbedError> {
    // The jar of HDFS has no web pages; its servers want the folders all the same.
    for name in ["hdfs", "datanode", "static"] {
        home.write(&format!("conf/webapps/{name}/empty"), "")?;
    }
    let temporary = home.path("temporary");
    let root = format!("hdfs://127.0.0.1:{}", ports.name_node);
    let core =
        [("fs.defaultFS", root.clone()), ("hadoop.tmp.dir", temporary.join("hadoop").display().to_string())];
    home.write_settings("conf/core-site.xml", &core)?;
    let hdfs = [
        ("dfs.replication", DATA_NODES.to_string()),
        ("dfs.namenode.name.dir", format!("file://{}", home.path("name-node").display())),
        ("dfs.namenode.http-address", format!("127.0.0.1:{}", ports.name_node_web)),
        ("dfs.namenode.rpc-bind-host", "127.0.0.1".to_owned()),
        ("dfs.namenode.datanode.registration.ip-hostname-check", "false".to_owned()),
        ("dfs.permissions.enabled", "false".to_owned()),
        ("dfs.namenode.safemode.extension", "0".to_owned()),
        ("dfs.heartbeat.interval", "1".to_owned()),
        ("dfs.client.block.write.replace-datanode-on-failure.policy", "NEVER".to_owned()),
        ("dfs.blocksize", (16 << 20).to_string()),
    ];
    home.write_settings("conf/hdfs-site.xml", &hdfs)?;
    let mut hbase = hbase_settings(ports.zookeeper, REGION_SERVERS, &temporary);
    hbase.extend([
        ("hbase.cluster.distributed", "true".to_owned()),
        ("hbase.rootdir", format!("{root}/hbase")),
        ("hbase.master.port", ports.master.to_string()),
        ("zookeeper.session.timeout", SESSION.to_string()),
    ]);
    home.write_settings("conf/hbase-site.xml", &hbase)?;
    let zookeeper = format!(
        "tickTime=1000\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\nmaxClientCnxns=0\n",
        home.path("zookeeper").display(),
        ports.zookeeper
    );
    home.write("conf/zoo.cfg", &zookeeper)
}
