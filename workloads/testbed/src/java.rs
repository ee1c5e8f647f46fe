//! Java servers out of the jars that `tools/setup.sh` keeps in the cache folder.

use std::path::PathBuf;
use std::process::Command;

use crate::process::TestbedError;

/// Folder that checkouts share: `$MEDINDEX_CACHE`, else `~/.cache/medindex`.
pub fn cache_folder() -> PathBuf {
    let given = std::env::var_os("MEDINDEX_CACHE").filter(|value| !value.is_empty()).map(PathBuf::from);
    given.unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache").join("medindex")
    })
}

/// Folder with the jars of a server (`kafka`, `hbase`, …).
///
/// # Errors
/// [`TestbedError::FindPart`] when it was not set up.
pub fn jars(server: &str) -> Result<PathBuf, TestbedError> {
    let folder = cache_folder().join("servers").join(server);
    if folder.join("complete").is_file() {
        Ok(folder)
    } else {
        Err(TestbedError::FindPart { part: server.to_owned(), folder })
    }
}

/// A Java command with the settings every server here shares: a small heap, the serial collector, IPv4.
pub fn java(class_path: &str, heap_mib: u32) -> Command {
    let mut command = Command::new("java");
    command
        .arg(format!("-Xmx{heap_mib}m"))
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"])
        .args(["-Djava.net.preferIPv4Stack=true", "-Djava.awt.headless=true"])
        .args(["-cp", class_path]);
    command
}
