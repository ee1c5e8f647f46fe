//! Programs that the system's packages install.

use std::path::{Path, PathBuf};

use crate::java::cache_folder;
use crate::process::TestbedError;

/// Where Debian puts servers, which an ordinary user's `PATH` leaves out.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// The path of a program of a set-up part: in `PATH`, among the system's servers, or in the cache folder.
///
/// # Errors
/// [`TestbedError::FindPart`] when it was not set up.
pub fn find(part: &str, program: &str) -> Result<PathBuf, TestbedError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = cache_folder().join("bin");
    let folders =
        std::env::split_paths(&path).chain(SYSTEM_FOLDERS.iter().map(PathBuf::from)).chain([own.clone()]);
    let found = folders.map(|folder| folder.join(program)).find(|file| is_file(file));
    found.ok_or_else(|| TestbedError::FindPart { part: part.to_owned(), folder: own.join(program) })
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_the_part_to_set_up() {
        assert!(find("shell", "sh").unwrap().is_absolute());
        let error = find("mariadb", "no-such-server").unwrap_err().to_string();
        assert!(error.contains("setup.sh mariadb") && error.contains("no-such-server"), "{error}");
    }
}
