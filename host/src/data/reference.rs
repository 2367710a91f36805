//! Values of other implementations that unit tests compare with; `tests/data/reference.py` makes
//! them.

use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Picture;

/// The values in `tests/data/reference.json`.
pub(super) static REFERENCE: LazyLock<Reference> = LazyLock::new(|| {
    let text = include_str!("../../../tests/data/reference.json");
    Reference(serde_json::from_str(text).expect("reference values"))
});

/// Values by the name of what they are of.
pub(super) struct Reference(Value);

impl Reference {
    /// The cases of one kind.
    pub(super) fn cases<T: DeserializeOwned>(&self, kind: &str) -> T {
        serde_json::from_value(self.0[kind].clone()).expect("cases of this form")
    }
}

/// One of the pictures.
pub(super) fn source(name: &str) -> Picture {
    #[derive(Deserialize)]
    struct Source {
        width: usize,
        height: usize,
        channels: usize,
        pixels: String,
    }
    let found: Source =
        serde_json::from_value(REFERENCE.0["sources"][name].clone()).expect("a picture");
    Picture {
        width: found.width,
        height: found.height,
        channels: found.channels,
        pixels: pixels(&found.pixels),
    }
}

/// Bytes in hexadecimal.
pub(super) fn pixels(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a digit") as u8;
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| digit(pair[0]) * 16 + digit(pair[1]))
        .collect()
}
