//! Mean and standard deviation of pictures that are too many to be decoded at every start: measured
//! once, and kept in the user's folder for what can be made again.
//!
//! What is kept is taken only for the very files that it was measured over: its key has their names,
//! sizes, and times of writing, and stands in the file as well as in its name. A file that is
//! missing, damaged, or of other pictures means measuring again, never an error. The sums are of
//! integers, so threads do not change them.

use std::fs;
use std::io::Write;
use std::path::Path;

use rayon::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::picture::Pictures;
use super::{DataError, Normalisation, loader};
use crate::cache::cache_folder;
use crate::file;

/// To be changed with the file, with what a picture is decoded to, or with what is measured.
const FORMAT: u32 = 1;

/// The sums of all values of each channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sums {
    format: u32,
    /// The digest of what was measured.
    key: String,
    pixels: u64,
    sums: Vec<u64>,
    squares: Vec<u64>,
}

impl Sums {
    fn of(pixels: &[u8], channels: usize) -> Self {
        let mut found = Self {
            pixels: (pixels.len() / channels) as u64,
            sums: vec![0; channels],
            squares: vec![0; channels],
            ..Self::default()
        };
        for pixel in pixels.chunks_exact(channels) {
            for (channel, value) in pixel.iter().enumerate() {
                let value = u64::from(*value);
                found.sums[channel] += value;
                found.squares[channel] += value * value;
            }
        }
        found
    }

    fn plus(mut self, other: &Self) -> Self {
        self.pixels += other.pixels;
        self.sums.resize(other.sums.len().max(self.sums.len()), 0);
        self.squares.resize(self.sums.len(), 0);
        for (sum, more) in self.sums.iter_mut().zip(&other.sums) {
            *sum += more;
        }
        for (sum, more) in self.squares.iter_mut().zip(&other.squares) {
            *sum += more;
        }
        self
    }

    /// Every channel as its mean and standard deviation, unless one has none: all pixels are equal,
    /// or the numbers contradict each other.
    fn normalisation(&self) -> Option<Normalisation> {
        let count = self.pixels as f64;
        let mut found = Normalisation {
            mean: Vec::new(),
            std: Vec::new(),
        };
        for (sum, squares) in self.sums.iter().zip(&self.squares) {
            let mean = *sum as f64 / count;
            let variance = *squares as f64 / count - mean * mean;
            // A byte deviates by at most half of its range.
            if !((0.0..=255.0).contains(&mean) && variance > 0.0 && variance <= 127.5 * 127.5) {
                return None;
            }
            found.mean.push((mean / 255.0) as f32);
            found.std.push((variance.sqrt() / 255.0) as f32);
        }
        (self.pixels > 0 && self.sums.len() == self.squares.len()).then_some(found)
    }
}

/// Mean and standard deviation over all pixels of `pictures`, in colour. `key` is the digest of their
/// files, `source` where they lie.
pub(super) fn measure(
    pictures: &dyn Pictures,
    key: &str,
    source: &Path,
    threads: Option<usize>,
) -> Result<Normalisation, DataError> {
    let folder = cache_folder().map(|folder| folder.join("statistics"));
    measure_or_recall(pictures, key, source, threads, folder.as_deref())
}

fn measure_or_recall(
    pictures: &dyn Pictures,
    key: &str,
    source: &Path,
    threads: Option<usize>,
    folder: Option<&Path>,
) -> Result<Normalisation, DataError> {
    if let Some(kept) = folder.and_then(|folder| recall(folder, key)) {
        return Ok(kept);
    }
    let pool = loader::decoding_threads(threads)?;
    let all = pool.install(|| {
        (0..pictures.len())
            .into_par_iter()
            .map(|index| {
                let picture = pictures.picture(index)?;
                Ok(Sums::of(&picture.pixels, picture.channels))
            })
            .try_reduce(Sums::default, |first, second| Ok(first.plus(&second)))
    })?;
    let all = Sums {
        format: FORMAT,
        key: key.to_owned(),
        ..all
    };
    let found = all.normalisation().ok_or_else(|| DataError::Corrupt {
        path: source.to_path_buf(),
        what: "all pixels of a channel are equal".to_owned(),
    })?;
    if let Some(folder) = folder {
        // What cannot be kept is measured again.
        let _ = keep(folder, key, &all);
    }
    Ok(found)
}

/// What was measured over the files with this key.
fn recall(folder: &Path, key: &str) -> Option<Normalisation> {
    let kept: Sums = recall_json(folder, key)?;
    let same = kept.format == FORMAT && kept.key == key && kept.sums.len() == 3;
    kept.normalisation().filter(|_| same)
}

/// What [`keep`] kept, if it can be read.
pub(super) fn recall_json<T: DeserializeOwned>(folder: &Path, key: &str) -> Option<T> {
    let bytes = file::read(&folder.join(format!("{key}.json")), file::TEXT).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The file appears whole or not at all.
pub(super) fn keep(folder: &Path, key: &str, found: &impl Serialize) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new()
        .prefix(".writing-")
        .tempfile_in(folder)?;
    file.write_all(serde_json::to_string(found)?.as_bytes())?;
    file.persist(folder.join(format!("{key}.json")))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::data::Picture;

    /// Pictures of different sizes that count how often they are decoded.
    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    impl Pictures for Counting {
        fn len(&self) -> usize {
            20
        }

        fn label(&self, _: usize) -> usize {
            0
        }

        fn name(&self, index: usize) -> String {
            index.to_string()
        }

        fn picture(&self, index: usize) -> Result<Picture, DataError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Picture {
                width: index + 1,
                height: 1,
                channels: 3,
                pixels: [index as u8, 100, 200]
                    .repeat(index)
                    .into_iter()
                    .chain([0, 0, 0])
                    .collect(),
            })
        }

        fn costly(&self) -> bool {
            true
        }
    }

    fn close(found: &[f32], expected: [f64; 3]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected / 255.0).abs() < 1e-6);
        }
    }

    #[test]
    fn every_pixel_counts_once_and_files_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let pictures = Counting::default();
        let measure = |key, threads| {
            let path = Path::new("train");
            measure_or_recall(&pictures, key, path, Some(threads), Some(folder.path())).unwrap()
        };
        let decoded = || pictures.0.load(Ordering::Relaxed);
        let found = measure("a", 1);
        assert_eq!(decoded(), 20);
        // 210 pixels, 20 of them black: sums of squares and cubes of the first integers.
        let red = 2470.0 / 210.0;
        close(&found.mean, [red, 19_000.0 / 210.0, 38_000.0 / 210.0]);
        let variance = 36_100.0 / 210.0 - red * red;
        let share = 190.0 / 210.0;
        let spread = f64::sqrt(share * (1.0 - share));
        close(
            &found.std,
            [variance.sqrt(), 100.0 * spread, 200.0 * spread],
        );
        assert_eq!(measure("a", 2), found);
        assert_eq!(decoded(), 20, "the file was not taken");
        // Other pictures are measured themselves.
        assert_eq!(measure("b", 2), found);
        assert_eq!(decoded(), 40);
    }

    #[test]
    fn nothing_is_believed_that_cannot_be() {
        let folder = tempfile::tempdir().unwrap();
        let good = Sums {
            format: FORMAT,
            key: "a".to_owned(),
            pixels: 4,
            sums: vec![400; 3],
            squares: vec![60_000; 3],
        };
        keep(folder.path(), "a", &good).unwrap();
        assert!(recall(folder.path(), "a").is_some());
        let file = folder.path().join("a.json");
        type Change = fn(&mut Sums);
        let changes: [Change; 7] = [
            |sums| sums.key = "b".to_owned(),
            |sums| sums.format += 1,
            |sums| sums.pixels = 0,
            |sums| sums.sums = vec![2000; 3],
            |sums| sums.squares = vec![40_000; 3],
            |sums| sums.squares = vec![60_000; 2],
            |sums| sums.sums = vec![400],
        ];
        for change in changes {
            let mut sums = good.clone();
            change(&mut sums);
            fs::write(&file, serde_json::to_string(&sums).unwrap()).unwrap();
            assert_eq!(recall(folder.path(), "a"), None, "{sums:?}");
        }
        let text = serde_json::to_string(&good).unwrap();
        fs::write(&file, &text[..text.len() / 2]).unwrap();
        assert_eq!(recall(folder.path(), "a"), None);
    }
}
