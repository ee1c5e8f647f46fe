//! Digests of an upload's bytes.

use md5::Md5;
use sha2::{Digest, Sha256};

/// Both digests of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContentDigests {
    /// Detects a second upload of the same bytes.
    pub(crate) sha256: [u8; 32],
    /// Key of the recognition cache, nothing more.
    pub(crate) md5: [u8; 16],
}

pub(crate) fn digest_content(bytes: &[u8]) -> ContentDigests {
    ContentDigests { sha256: Sha256::digest(bytes).into(), md5: Md5::digest(bytes).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_equal_the_published_test_vectors() {
        let digests = digest_content(b"abc");
        assert_eq!(hex::encode(digests.md5), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(
            hex::encode(digests.sha256),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
