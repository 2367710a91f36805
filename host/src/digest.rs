//! SHA-256 digests as records and errors write them: in hexadecimal.

use sha2::{Digest, Sha256};

/// The digest of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(Sha256::new_with_prefix(bytes))
}

/// Whether a text is such a digest. One that is used as a file's name must be.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The digest of everything that was given to `digest`.
pub(crate) fn hexadecimal(digest: Sha256) -> String {
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn digests_are_those_of_the_standard() {
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(super::sha256(b"abc"), expected);
        assert!(super::is_sha256(expected));
        for other in ["", "../../secret", &expected[1..], &expected.to_uppercase()] {
            assert!(!super::is_sha256(other), "{other}");
        }
    }
}
