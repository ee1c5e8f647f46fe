//! Credentials and certificates of the servers, from files, read again when they change.
//!
//! Kubernetes mounts secrets as files and swaps them in place when they are renewed. An adapter keeps a [`CredentialFiles`] and asks
//! [`CredentialFiles::changed`] from time to time ([`CHECK_EVERY`]); when they did change it makes its client anew. Secrets are never in
//! settings, environment or logs: only the files' paths are.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crc32fast::Hasher;
use parking_lot::Mutex;

use crate::fault::Fault;

/// How often adapters look whether their files changed.
pub const CHECK_EVERY: Duration = Duration::from_secs(20);

/// Files for TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file of the authorities that the server's certificate is checked against; the system's when `None`.
    pub authorities: Option<PathBuf>,
    /// PEM file of the client's certificate, for mutual TLS.
    pub certificate: Option<PathBuf>,
    /// PEM file of the client's key.
    pub key: Option<PathBuf>,
}

/// A user and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginFiles {
    /// File that holds the user's name; `None` where the server has a default user.
    pub user: Option<PathBuf>,
    /// File that holds the password.
    pub password: PathBuf,
}

impl LoginFiles {
    /// The files of a user and of its password.
    pub fn new(user: impl Into<PathBuf>, password: impl Into<PathBuf>) -> Self {
        Self { user: Some(user.into()), password: password.into() }
    }

    /// Reads the user's name.
    ///
    /// # Errors
    /// [`Fault::Inaccessible`] naming the file.
    pub fn read_user(&self) -> Result<Option<Secret>, Fault> {
        self.user.as_deref().map(read_secret).transpose()
    }

    /// Reads the password.
    ///
    /// # Errors
    /// [`Fault::Inaccessible`] naming the file.
    pub fn read_password(&self) -> Result<Secret, Fault> {
        read_secret(&self.password)
    }

    /// The files.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.user.iter().chain([&self.password])
    }
}

/// A secret text; its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// Reads a secret; line ends at its end, which editors add, are not part of it.
///
/// # Errors
/// [`Fault::Inaccessible`] naming the file.
pub fn read_secret(path: &Path) -> Result<Secret, Fault> {
    let text = fs::read_to_string(path).map_err(|source| inaccessible(path, source))?;
    Ok(Secret(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn inaccessible(path: &Path, source: std::io::Error) -> Fault {
    Fault::Inaccessible { place: path.display().to_string(), source: source.into() }
}

/// Files whose contents a client was made from.
#[derive(Debug)]
pub struct CredentialFiles {
    paths: Vec<PathBuf>,
    seen: Mutex<u32>,
}

impl CredentialFiles {
    /// Remembers what the files of TLS and of every login hold now.
    ///
    /// # Errors
    /// [`Fault::Inaccessible`] naming the file that cannot be read.
    pub fn new<'a>(
        tls: Option<&'a TlsFiles>,
        logins: impl IntoIterator<Item = &'a LoginFiles>,
    ) -> Result<Self, Fault> {
        let tls = tls.into_iter().flat_map(|tls| [&tls.authorities, &tls.certificate, &tls.key]);
        let logins = logins.into_iter().flat_map(LoginFiles::paths);
        let paths: Vec<PathBuf> = tls.flatten().chain(logins).cloned().collect();
        let seen = Mutex::new(checksum(&paths)?);
        Ok(Self { paths, seen })
    }

    /// Whether the files hold something else than at the last call (or at the beginning): make the client anew.
    ///
    /// # Errors
    /// [`Fault::Inaccessible`]; the client that there is goes on.
    pub fn changed(&self) -> Result<bool, Fault> {
        let now = checksum(&self.paths)?;
        let mut seen = self.seen.lock();
        let changed = *seen != now;
        *seen = now;
        Ok(changed)
    }

    /// Whether there are no files at all.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

fn checksum(paths: &[PathBuf]) -> Result<u32, Fault> {
    let mut hasher = Hasher::new();
    for path in paths {
        let bytes = fs::read(path).map_err(|source| inaccessible(path, source))?;
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(&bytes);
    }
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_noticed_once_and_secrets_are_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let user = folder.path().join("user");
        let login = LoginFiles::new(&user, folder.path().join("password"));
        fs::write(&user, "medindex\n").unwrap();
        fs::write(&login.password, "one\n").unwrap();
        let files = CredentialFiles::new(None, Some(&login)).unwrap();
        assert!(!files.changed().unwrap());
        fs::write(&login.password, "two\n").unwrap();
        assert!(files.changed().unwrap());
        assert!(!files.changed().unwrap());
        let secret = read_secret(&login.password).unwrap();
        assert_eq!(secret.reveal(), "two");
        assert!(!format!("{secret:?}").contains("two"));
    }

    #[test]
    fn files_of_every_login_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let login = |name: &str| {
            let file = |end: &str| folder.path().join(format!("{name}-{end}"));
            fs::write(file("user"), name).unwrap();
            fs::write(file("password"), "one").unwrap();
            LoginFiles::new(file("user"), file("password"))
        };
        let logins = [login("server"), login("sentinel")];
        let files = CredentialFiles::new(None, &logins).unwrap();
        for login in &logins {
            assert!(!files.changed().unwrap());
            fs::write(&login.password, "two").unwrap();
            assert!(files.changed().unwrap());
        }
        fs::remove_file(&logins[1].password).unwrap();
        assert!(files.changed().unwrap_err().to_string().contains("sentinel-password"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let login = LoginFiles::new("/nowhere/user", "/nowhere/password");
        let error = CredentialFiles::new(None, Some(&login)).unwrap_err();
        assert!(error.to_string().contains("/nowhere/user"));
    }
}
