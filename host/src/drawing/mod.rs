//! Pictures for people, drawn without a font or a plotting library.

mod confusion;
mod letters;

use std::io::Cursor;

use image::{ImageError, ImageFormat, RgbImage};

pub use confusion::confusion;

/// A picture as the bytes of a PNG file.
///
/// # Errors
/// When the picture is too large for the format.
pub fn png(picture: &RgbImage) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}
