//! Leaving out the suites of servers that a user does not want to start.

use std::io::Write as _;

/// Variable that names the servers to leave out, joined by commas.
pub const SKIP_VARIABLE: &str = "MEDINDEX_SKIP_SERVERS";

/// Servers that can be named.
const KNOWN: [&str; 6] = ["kafka", "hbase", "hdfs", "phoenix", "mariadb", "redis"];

/// Whether the user left a server out; says so on standard error, past the capture of tests that pass, so that no suite is skipped silently.
///
/// # Panics
/// When the variable names a server that does not exist: a misspelt name would run what was to be left out.
#[allow(clippy::panic)]
pub fn skipped(server: &str) -> bool {
    let text = std::env::var(SKIP_VARIABLE).unwrap_or_default();
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    for name in &names {
        assert!(KNOWN.contains(name), "{SKIP_VARIABLE} names {name:?}; there are: {}", KNOWN.join(", "));
    }
    let skipped = names.contains(&server);
    if skipped {
        tell(&format!("SKIPPED: the suite over {server}, because {SKIP_VARIABLE} names it"));
    }
    skipped
}

/// Writes a line to standard error that is seen although a test passes: the test harness captures what `print!` and `eprint!` write.
pub fn tell(line: &str) {
    // A figure that nobody can be shown is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// `println!` for the figures of a test, which are to be seen although it passes.
#[macro_export]
macro_rules! say {
    ($($part:tt)*) => {
        $crate::tell(&format!($($part)*))
    };
}
