//! Resident memory of this process, from `/proc/self/status`.

use std::path::Path;

use super::EngineError;

/// Resident bytes that belong to the process alone (`RssAnon`): what cannot be dropped and read again.
pub(crate) fn anonymous_bytes() -> Result<u64, EngineError> {
    let path = Path::new("/proc/self/status");
    let status = std::fs::read_to_string(path).map_err(|source| EngineError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    Ok(field_bytes(&status, "RssAnon").unwrap_or(0))
}

fn field_bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_in_bytes() {
        let status = "VmRSS:\t  10 kB\nRssAnon:\t    2048 kB\nRssFile:\t 1 kB\n";
        assert_eq!(field_bytes(status, "RssAnon"), Some(2048 * 1024));
        assert_eq!(field_bytes(status, "RssShmem"), None);
    }
}
