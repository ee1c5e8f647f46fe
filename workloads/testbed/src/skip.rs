//! Leaving out the suites of servers that a user does not want to start.

/// Variable that names the servers to leave out, joined by commas.
pub const SKIP_VARIABLE: &str = "MEDINDEX_SKIP_SERVERS";

/// Servers that can be named.
const KNOWN: [&str; 6] = ["kafka", "hbase", "hdfs", "phoenix", "mariadb", "redis"];

/// Whether the user left a server out; says so on standard error, so that no suite is skipped silently.
///
/// # Panics
/// When the variable names a server that does not exist: a misspelt name would run what was to be left out.
#[allow(clippy::panic, clippy::print_stderr)]
pub fn skipped(server: &str) -> bool {
    let text = std::env::var(SKIP_VARIABLE).unwrap_or_default();
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    for name in &names {
        assert!(KNOWN.contains(name), "{SKIP_VARIABLE} names {name:?}; there are: {}", KNOWN.join(", "));
    }
    let skipped = names.contains(&server);
    if skipped {
        eprintln!("SKIPPED: the suite over {server}, because {SKIP_VARIABLE} names it");
    }
    skipped
}
