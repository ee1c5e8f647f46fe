//! SQL over HBase: a standalone HBase with the coprocessors of Phoenix, and its shell.

use std::path::Path;

use crate::hadoop::Home;
use crate::hbase::{Hbase, ThriftServers};
use crate::process::{TestbedError, run};

/// What servers and clients of Phoenix have to agree on: a schema of SQL is a namespace of HBase.
const SETTINGS: [(&str, &str); 2] = [
    ("phoenix.schema.isNamespaceMappingEnabled", "true"),
    ("phoenix.schema.mapSystemTablesToNamespace", "true"),
];

/// The shell's rows go to standard output, so what the driver has to say goes elsewhere.
const CLIENT_LOGGING: &str = "log4j.rootLogger=WARN,C
log4j.appender.C=org.apache.log4j.ConsoleAppender
log4j.appender.C.target=System.err
log4j.appender.C.layout=org.apache.log4j.SimpleLayout
";

/// Row that parts the answers of queries.
const END_OF_QUERY: &str = "the end of a query";

/// A running HBase that answers SQL; dropping it stops it.
#[derive(Debug)]
pub struct Phoenix {
    hbase: Hbase,
}

impl Phoenix {
    /// Starts HBase with the jars of Phoenix.
    ///
    /// # Errors
    /// [`TestbedError`] when jars are missing or a process does not come up.
    pub fn start() -> Result<Self, TestbedError> {
        let home = Home::new("phoenix", &["phoenix"])?;
        home.write("conf/client-log4j.properties", CLIENT_LOGGING)?;
        Ok(Self { hbase: Hbase::start_in(home, &SETTINGS)? })
    }

    /// Runs a file of SQL as a user would, in the shell `sqlline`; returns the rows that its queries gave. The first connection to a
    /// server makes the tables of Phoenix and takes 20 to 40 s, later ones take 5 s.
    ///
    /// # Errors
    /// [`TestbedError::Run`] with what the shell printed, when a statement fails.
    pub fn run_file(&self, file: &Path) -> Result<Vec<Vec<String>>, TestbedError> {
        let home = self.hbase.home();
        let logging =
            format!("-Dlog4j.configuration=file:{}", home.path("conf/client-log4j.properties").display());
        let address = format!("jdbc:phoenix:127.0.0.1:{}:/hbase", self.hbase.zookeeper_port());
        let script = format!("--run={}", file.display());
        let connect =
            ["-d", "org.apache.phoenix.jdbc.PhoenixDriver", "-u", &address, "-n", "none", "-p", "none"];
        let shell = [
            "--isolation=TRANSACTION_READ_COMMITTED",
            "--silent=true",
            "--color=false",
            "--outputformat=csv",
            "--showHeader=false",
            &script,
        ];
        let arguments = [&[logging.as_str(), "sqlline.SqlLine"], &connect[..], &shell[..]].concat();
        let text = run(&mut home.command(512, &arguments))?;
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .quote(b'\'')
            .from_reader(text.as_bytes());
        let rows = reader.records().map(|row| Ok(row?.iter().map(str::to_owned).collect()));
        rows.collect::<Result<_, csv::Error>>().map_err(|error| TestbedError::Run {
            command: format!("reading what sqlline printed of {}: {error}", file.display()),
            status: "it is no CSV".to_owned(),
            output: text.clone(),
        })
    }

    /// Runs queries over one connection; returns the rows of each.
    ///
    /// # Errors
    /// [`TestbedError::Prepare`], [`TestbedError::Run`].
    pub fn query(&self, queries: &[String]) -> Result<Vec<Vec<Vec<String>>>, TestbedError> {
        let marked = queries
            .iter()
            .map(|query| format!("{query};\nSELECT '{END_OF_QUERY}' FROM SYSTEM.CATALOG LIMIT 1;\n"));
        self.hbase.home().write("query.sql", &marked.collect::<String>())?;
        let rows = self.run_file(&self.hbase.home().path("query.sql"))?;
        let answers = rows.split(|row| *row == [END_OF_QUERY]).map(<[_]>::to_vec);
        Ok(answers.take(queries.len()).collect())
    }
}

impl ThriftServers for Phoenix {
    fn thrift1(&self) -> String {
        self.hbase.thrift1()
    }

    fn thrift2(&self) -> String {
        self.hbase.thrift2()
    }
}
