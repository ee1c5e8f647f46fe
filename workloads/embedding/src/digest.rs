//! SHA-256 of model files, and the digest that identifies a model together with its preprocessing.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// SHA-256 of the file at `path` in lower-case hex, read in pieces of 1 MiB.
///
/// # Errors
/// Whatever opening or reading the file fails with.
pub(crate) fn sha256_of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

/// SHA-256 of `text` in lower-case hex.
pub(crate) fn sha256_of_text(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_known_text_is_the_published_one() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_of_text("abc"), expected);
    }

    #[test]
    fn a_file_longer_than_the_buffer_has_the_digest_of_its_whole_content() {
        let text = "medical ".repeat(300_000);
        let path = std::env::temp_dir().join(format!("medindex-digest-{}", std::process::id()));
        std::fs::write(&path, &text).unwrap();
        let digest = sha256_of_file(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(digest.unwrap(), sha256_of_text(&text));
    }
}
