//! The entries of a zip file as PyTorch writes it: stored, not compressed, so that every entry is a
//! range of the file. The central directory is read once, with bounds; names are never paths.

use std::collections::BTreeMap;
use std::ops::Range;

use super::error::{Problem, plain};
use super::source::Source;

/// The end of a zip file, without its comment.
const END: usize = 22;
/// The longest comment.
const COMMENT: usize = u16::MAX as usize;
/// Bytes of a central directory that are read at most.
const MOST_DIRECTORY: u64 = 64 << 20;
/// Entries that are read at most.
const MOST_ENTRIES: u64 = 200_000;

/// The entries by name.
#[derive(Debug)]
pub(super) struct Archive {
    entries: BTreeMap<String, Entry>,
}

/// One entry.
#[derive(Clone, Debug)]
struct Entry {
    /// The byte of the file where its local header begins.
    header: u64,
    size: u64,
    /// Why it cannot be read, if so.
    refused: Option<&'static str>,
}

/// Little-endian numbers, one after the other.
struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<u64> {
        let taken = self.take(bytes)?;
        Some(
            taken
                .iter()
                .rev()
                .fold(0, |number, &byte| number << 8 | u64::from(byte)),
        )
    }
}

fn damaged(reason: impl Into<String>) -> Problem {
    Problem::Archive {
        reason: reason.into(),
    }
}

fn cut_off() -> Problem {
    damaged("its directory, which stands at the end, is cut off")
}

impl Archive {
    /// Reads the directory.
    pub(super) fn open(source: &Source) -> Result<Self, Problem> {
        let (directory, count) = directory(source)?;
        let bytes = source.bytes(directory.start, (directory.end - directory.start) as usize)?;
        let mut fields = Fields { bytes: &bytes };
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let (name, entry) = entry(&mut fields).ok_or_else(cut_off)??;
            let header = entry.header;
            if header
                .checked_add(entry.size)
                .is_none_or(|end| end > directory.start)
            {
                return Err(damaged(format!(
                    "entry `{}` of {} bytes lies beyond the entries' part of the file",
                    plain(&name),
                    entry.size
                )));
            }
            if let Some(_before) = entries.insert(name.clone(), entry) {
                return Err(damaged(format!(
                    "two entries have the name `{}`",
                    plain(&name)
                )));
            }
        }
        let mut ordered: Vec<(&String, &Entry)> = entries.iter().collect();
        ordered.sort_by_key(|(_, entry)| entry.header);
        for pair in ordered.windows(2) {
            if pair[0].1.header + pair[0].1.size > pair[1].1.header {
                return Err(damaged(format!(
                    "entries `{}` and `{}` overlap",
                    plain(pair[0].0),
                    plain(pair[1].0)
                )));
            }
        }
        Ok(Self { entries })
    }

    /// The names, in alphabetical order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Where the contents of an entry lie in the file; `None` when there is no such entry.
    pub(super) fn range(&self, name: &str, source: &Source) -> Result<Option<Range<u64>>, Problem> {
        let Some(entry) = self.entries.get(name) else {
            return Ok(None);
        };
        if let Some(reason) = entry.refused {
            return Err(Problem::NotTorch {
                reason: format!("entry `{}` is {reason}", plain(name)),
            });
        }
        let header = source.bytes(entry.header, 30)?;
        let mut fields = Fields { bytes: &header };
        let lengths = (|| {
            let signature = fields.number(4)?;
            fields.take(22)?;
            Some((signature, fields.number(2)?, fields.number(2)?))
        })();
        let (signature, name_length, extra_length) = lengths.ok_or_else(cut_off)?;
        let own = source.bytes(entry.header + 30, name_length as usize)?;
        if signature != 0x0403_4b50 || own != name.as_bytes() {
            return Err(damaged(format!(
                "entry `{}` does not begin where the directory says",
                plain(name)
            )));
        }
        let start = entry.header + 30 + name_length + extra_length;
        match start.checked_add(entry.size) {
            Some(end) if end <= source.length() => Ok(Some(start..end)),
            _ => Err(damaged(format!("entry `{}` is cut off", plain(name)))),
        }
    }
}

/// Where the central directory lies, and how many entries it has.
fn directory(source: &Source) -> Result<(Range<u64>, u64), Problem> {
    let tail_start = source.length().saturating_sub((END + COMMENT) as u64);
    let tail = source.bytes(tail_start, END + COMMENT)?;
    let at = (0..tail.len().saturating_sub(END - 1))
        .rev()
        .find(|&at| {
            tail[at..].starts_with(b"PK\x05\x06")
                && usize::from(u16::from_le_bytes([tail[at + 20], tail[at + 21]]))
                    == tail.len() - at - END
        })
        .ok_or_else(cut_off)?;
    let end = tail_start + at as u64;
    let mut fields = Fields {
        bytes: &tail[at + 10..],
    };
    let numbers = (|| Some((fields.number(2)?, fields.number(4)?, fields.number(4)?)))();
    let (mut count, mut size, mut start) = numbers.ok_or_else(cut_off)?;
    let mut before = end;
    if count == 0xffff || size == 0xffff_ffff || start == 0xffff_ffff {
        let locator = source.bytes(end.checked_sub(20).ok_or_else(cut_off)?, 20)?;
        let mut fields = Fields { bytes: &locator };
        let position = (|| {
            let signature = fields.number(4)?;
            fields.take(4)?;
            Some((signature, fields.number(8)?))
        })();
        // Without a locator the numbers are what they look like.
        if let Some((0x0706_4b50, position)) = position {
            let record = source.bytes(position, 56)?;
            let mut fields = Fields { bytes: &record };
            let numbers = (|| {
                let signature = fields.number(4)?;
                fields.take(28)?;
                Some((
                    signature,
                    fields.number(8)?,
                    fields.number(8)?,
                    fields.number(8)?,
                ))
            })();
            let Some((0x0606_4b50, large_count, large_size, large_start)) = numbers else {
                return Err(cut_off());
            };
            (count, size, start) = (large_count, large_size, large_start);
            before = position;
        }
    }
    for (what, found, most) in [
        ("bytes of the zip file's directory", size, MOST_DIRECTORY),
        ("entries of the zip file", count, MOST_ENTRIES),
    ] {
        if found > most {
            return Err(Problem::TooLarge { what, found, most });
        }
    }
    match start.checked_add(size) {
        Some(end) if end <= before => Ok((start..end, count)),
        _ => Err(cut_off()),
    }
}

/// The next entry of the directory; `None` when the directory ends inside it.
fn entry(fields: &mut Fields<'_>) -> Option<Result<(String, Entry), Problem>> {
    let signature = fields.number(4)?;
    if signature != 0x0201_4b50 {
        return None;
    }
    fields.take(4)?;
    let flags = fields.number(2)?;
    let method = fields.number(2)?;
    fields.take(8)?;
    let mut stored = fields.number(4)?;
    let mut size = fields.number(4)?;
    let name_length = fields.number(2)? as usize;
    let extra_length = fields.number(2)? as usize;
    let comment_length = fields.number(2)? as usize;
    fields.take(8)?;
    let mut header = fields.number(4)?;
    let name = fields.take(name_length)?;
    let mut extra = Fields {
        bytes: fields.take(extra_length)?,
    };
    fields.take(comment_length)?;
    while let (Some(kind), Some(length)) = (extra.number(2), extra.number(2)) {
        let mut field = Fields {
            bytes: extra.take(length as usize)?,
        };
        if kind == 1 {
            // Only the numbers that do not fit are here, in this order.
            for number in [&mut size, &mut stored, &mut header] {
                if *number == 0xffff_ffff {
                    *number = field.number(8)?;
                }
            }
        }
    }
    let Ok(name) = std::str::from_utf8(name) else {
        return Some(Err(damaged("the name of an entry is not UTF-8")));
    };
    let outside = name.starts_with(['/', '\\'])
        || name.contains(['\\', ':', '\0'])
        || name.split('/').any(|part| part == "..");
    if outside {
        return Some(Err(Problem::NotTorch {
            reason: format!(
                "the name `{}` leads out of the archive; nothing was unpacked",
                plain(name)
            ),
        }));
    }
    let refused = if flags & 1 == 1 {
        Some("encrypted")
    } else if method != 0 || stored != size {
        Some("compressed, which torch.save never does")
    } else {
        None
    };
    let entry = Entry {
        header,
        // What is compressed is never read, so what it takes in the file is what counts.
        size: stored,
        refused,
    };
    Some(Ok((name.to_owned(), entry)))
}
