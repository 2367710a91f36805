//! Files for people and programs that carry a digest of themselves: one changed bit in a number would
//! otherwise be read as if it had been written.
//!
//! The digest is the first field. A file without one is of a host that wrote none, and is believed.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::sha256;

/// How a sealed file begins; the digest follows.
const BEGIN: &[u8] = b"{\n  \"seal\": \"";
/// What follows the digest.
const END: &[u8] = b"\",\n";
/// Characters of a digest.
const DIGITS: usize = 64;

/// The JSON of a value that has fields, with the digest of everything else as its first field.
pub(super) fn sealed(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    let digest = sha256(text.as_bytes());
    let rest = text.as_bytes().get(2..).unwrap_or_default();
    Ok([BEGIN, digest.as_bytes(), END, rest].concat())
}

/// The counterpart of [`sealed`]; the error is a reason.
pub(super) fn opened<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    if let Some(rest) = bytes.strip_prefix(BEGIN)
        && let Some((written, rest)) = rest.split_at_checked(DIGITS)
        && let Some(rest) = rest.strip_prefix(END)
    {
        let found = sha256(&[&b"{\n"[..], rest].concat());
        if found.as_bytes() != written {
            return Err(format!(
                "the sha256 of what it says is {found}, and {} was written",
                String::from_utf8_lossy(written).escape_debug()
            ));
        }
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Record {
        name: String,
        number: f64,
        list: Vec<u32>,
    }

    fn record() -> Record {
        Record {
            name: "meta".to_owned(),
            number: 0.1 + 0.2,
            list: vec![1, 2, 3],
        }
    }

    #[test]
    fn no_bit_can_change_what_is_read() {
        let bytes = sealed(&record()).unwrap();
        assert_eq!(opened::<Record>(&bytes).unwrap(), record());
        let mut refused = 0;
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[place] ^= 1 << bit;
                match opened::<Record>(&changed) {
                    Ok(read) => assert_eq!(read, record(), "byte {place}, bit {bit}"),
                    Err(_) => refused += 1,
                }
            }
        }
        // What is left is the name of the field with the digest.
        assert!(refused >= 8 * (bytes.len() - 6), "{refused}");
        for length in 0..bytes.len() - 1 {
            assert!(opened::<Record>(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_file_without_a_seal_is_read() {
        let bytes = serde_json::to_vec_pretty(&record()).unwrap();
        assert_eq!(opened::<Record>(&bytes).unwrap(), record());
    }
}
