//! How much main memory this process may use.

use std::path::Path;

/// Limit files of control groups: version 2, then version 1.
const LIMIT_FILES: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
/// Version 1 writes a number near 2^63 where there is no limit.
const NO_LIMIT: u64 = 1 << 60;

/// The memory limit of this process's control group in bytes, which is what Kubernetes sets; `None` where there is none.
pub fn limit() -> Option<u64> {
    LIMIT_FILES.iter().find_map(|file| read_limit(Path::new(file)))
}

/// Main memory of this process in bytes that cannot be dropped: mapped files left out. 0 where the system does not tell.
pub fn anonymous() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = text.split_whitespace().skip(1).map(|number| number.parse::<u64>().unwrap_or(0));
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    resident.saturating_sub(shared) * rustix::param::page_size() as u64
}

fn read_limit(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_of_bytes_and_max_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("memory.max");
        std::fs::write(&file, "1073741824\n").unwrap();
        assert_eq!(read_limit(&file), Some(1 << 30));
        std::fs::write(&file, "max\n").unwrap();
        assert_eq!(read_limit(&file), None);
        std::fs::write(&file, "9223372036854771712\n").unwrap();
        assert_eq!(read_limit(&file), None);
    }
}
