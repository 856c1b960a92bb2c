//! The central directory of a zip archive, where the archive says it is.
//!
//! The `zip` crate looks for it so many bytes before the end record as the directory is long. PyTorch puts 76 bytes between them (the
//! end record of 64-bit archives and its locator), and where the directory's first entry happens to be 76 bytes long too, as with
//! file names of 21 characters, the crate begins at the second entry. [`ZipDirectory::misleads`] finds these files, and
//! [`ZipDirectory::copy_without_gap`] makes one that no reader can misunderstand.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

const END: &[u8; 4] = b"PK\x05\x06";
const END_LENGTH: usize = 22;
const END64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR64: &[u8; 4] = b"PK\x06\x07";
const LOCATOR64_LENGTH: u64 = 20;
const ENTRY: &[u8; 4] = b"PK\x01\x02";
const ENTRY_LENGTH: usize = 46;
/// The longest comment after the end record.
const MAX_COMMENT: u64 = 0xffff;
/// The largest directory that is read: a million entries.
const MAX_DIRECTORY: u64 = 64 << 20;

/// Where the directory is, and the names in it.
pub(crate) struct ZipDirectory {
    offset: u64,
    size: u64,
    entries: u16,
    end: u64,
    is_64_bit: bool,
    pub(crate) names: Vec<String>,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

impl ZipDirectory {
    /// The directory; `None` where the file is no archive or a damaged one.
    pub(crate) fn read(file: &mut File) -> Option<Self> {
        let length = file.metadata().ok()?.len();
        let tail_start = length.saturating_sub(END_LENGTH as u64 + MAX_COMMENT);
        let tail = bytes_at(file, tail_start, length - tail_start).ok()?;
        let is_end = |at: &usize| {
            let comment = u16_at(&tail, at + END_LENGTH - 2).map(usize::from);
            tail.get(*at..at + 4) == Some(END) && comment == Some(tail.len() - at - END_LENGTH)
        };
        let at = (0..=tail.len().checked_sub(END_LENGTH)?).rev().find(is_end)?;
        let end = tail_start + at as u64;
        let entries = u16_at(&tail, at + 10)?;
        let (mut size, mut offset) = (u64::from(u32_at(&tail, at + 12)?), u64::from(u32_at(&tail, at + 16)?));
        let is_64_bit = entries == u16::MAX || size == u64::from(u32::MAX) || offset == u64::from(u32::MAX);
        if is_64_bit {
            let locator = bytes_at(file, end.checked_sub(LOCATOR64_LENGTH)?, LOCATOR64_LENGTH).ok()?;
            let end64 = locator.starts_with(LOCATOR64).then(|| u64_at(&locator, 8)).flatten()?;
            let record = bytes_at(file, end64, 56).ok()?;
            if !record.starts_with(END64) {
                return None;
            }
            (size, offset) = (u64_at(&record, 40)?, u64_at(&record, 48)?);
        }
        if offset.checked_add(size)? > end || size > MAX_DIRECTORY {
            return None;
        }
        let names = names_in(&bytes_at(file, offset, size).ok()?)?;
        Some(Self { offset, size, entries, end, is_64_bit, names })
    }

    /// Whether a reader that expects the directory right before the end record finds another entry there.
    pub(crate) fn misleads(&self, file: &mut File) -> bool {
        let guess = self.end - self.size;
        let may_mislead = !self.is_64_bit && guess != self.offset;
        may_mislead && bytes_at(file, guess, ENTRY.len() as u64).is_ok_and(|bytes| bytes == ENTRY)
    }

    /// Writes the archive with the end record right after the directory.
    pub(crate) fn copy_without_gap(&self, file: &mut File, copy: &mut impl Write) -> io::Result<()> {
        file.seek(SeekFrom::Start(0))?;
        io::copy(&mut file.take(self.offset + self.size), copy)?;
        let (size, offset) = (self.size as u32, self.offset as u32); // both were 32 bits, or it does not mislead
        let count = self.entries.to_le_bytes();
        let mut end = END.to_vec();
        end.extend_from_slice(&[0; 4]);
        end.extend_from_slice(&[count, count].concat());
        end.extend_from_slice(&size.to_le_bytes());
        end.extend_from_slice(&offset.to_le_bytes());
        end.extend_from_slice(&[0; 2]);
        copy.write_all(&end)
    }
}

/// Some bytes of the file, of which no more are asked for than it has.
fn bytes_at(file: &mut File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == length {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn names_in(directory: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < directory.len() {
        let entry = &directory[at..];
        if !entry.starts_with(ENTRY) {
            return None;
        }
        let [name, extra, comment] = [28, 30, 32].map(|place| u16_at(entry, place).map(usize::from));
        let name_end = ENTRY_LENGTH + name?;
        names.push(String::from_utf8_lossy(entry.get(ENTRY_LENGTH..name_end)?).into_owned());
        at += name_end + extra? + comment?;
    }
    Some(names)
}
