//! Pictures that cannot be decoded, and what becomes of them: the first one ends everything, or all are
//! found when the set is opened, named, and left out.
//!
//! What is left out is a function of the files alone, and part of the set's digest: threads do not
//! change it, and a run whose set has lost or regained a picture does not go on as if nothing were.

use std::path::PathBuf;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::picture::{Dataset, Pictures};
use super::{DataError, Part, loader, statistics};
use crate::cache::cache_folder;
use crate::digest::hexadecimal;

/// To be changed with the file, or with what is decoded.
const FORMAT: u32 = 2;

/// What happens when a picture of a folder cannot be decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Corrupt {
    /// The command ends and names it.
    #[default]
    Abort,
    /// It is left out of everything, evaluation included, which is said. All pictures are decoded
    /// when the set is opened for the first time.
    Skip,
}

/// A picture that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Where it would be.
    pub part: Part,
    /// The file.
    pub path: PathBuf,
    /// Why it cannot be decoded.
    pub reason: String,
}

impl Dataset {
    /// The pictures that are left out, each with the reason.
    pub fn left_out_names(&self) -> Vec<String> {
        let each = self.left_out.iter();
        each.map(|one| format!("{}: {}", one.path.display(), one.reason))
            .collect()
    }
}

/// What was found in one part of a set, by the place of a picture in its list.
pub(super) type Found = Vec<(usize, String)>;

/// What is kept of a look at every picture.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format: u32,
    /// The digest of the files, with their times.
    key: String,
    train: Found,
    validation: Found,
}

/// The pictures of both parts that cannot be decoded. `key` is the digest of their files; what was found
/// is kept in the user's folder for what can be made again, so that the next opening need not look.
///
/// # Errors
/// When a file cannot be read: that says nothing about what is in it.
pub(super) fn find(
    train: &dyn Pictures,
    validation: &dyn Pictures,
    key: &str,
    threads: Option<usize>,
) -> Result<(Found, Found), DataError> {
    let folder = cache_folder().map(|folder| folder.join("corrupt"));
    let within = |found: &Found, pictures: &dyn Pictures| {
        let rising = found.windows(2).all(|pair| pair[0].0 < pair[1].0);
        rising && found.last().is_none_or(|last| last.0 < pictures.len())
    };
    if let Some(kept) = folder
        .as_deref()
        .and_then(|folder| statistics::recall_json::<Kept>(folder, key))
        && kept.format == FORMAT
        && kept.key == key
        && within(&kept.train, train)
        && within(&kept.validation, validation)
    {
        return Ok((kept.train, kept.validation));
    }
    let pool = loader::decoding_threads(threads)?;
    let look = |pictures: &dyn Pictures| {
        (0..pictures.len())
            .into_par_iter()
            .filter_map(|index| match pictures.picture(index) {
                Ok(_) => None,
                Err(error) => Some(error.corruption().map(|why| (index, why)).ok_or(error)),
            })
            .collect::<Result<Found, DataError>>()
    };
    let (train, validation) =
        pool.install(|| Ok::<_, DataError>((look(train)?, look(validation)?)))?;
    let kept = Kept {
        format: FORMAT,
        key: key.to_owned(),
        train,
        validation,
    };
    if let Some(folder) = folder {
        // What cannot be kept is looked for again.
        let _ = statistics::keep(&folder, key, &kept);
    }
    Ok((kept.train, kept.validation))
}

/// The digest of a set without some of its pictures.
pub(super) fn digest_without(digest: &str, left_out: &[(Part, String)]) -> String {
    if left_out.is_empty() {
        return digest.to_owned();
    }
    let mut without = Sha256::new();
    without.update(digest.as_bytes());
    for (part, name) in left_out {
        without.update(format!("\0{part:?}\0{name}").as_bytes());
    }
    hexadecimal(without)
}
