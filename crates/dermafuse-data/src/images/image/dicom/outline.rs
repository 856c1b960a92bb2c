//! Where the elements of a DICOM file stand. Nothing is read or allocated by what a length claims: values are stepped over,
//! but for a few short ones.

use std::io::{self, BufRead, ErrorKind, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use dicom_object::Tag;

use super::super::header::damaged;
use super::{REMEDY, tags};
use crate::DataError;

/// Preamble and magic number.
const START: u64 = 132;
/// A longer value is not one that is looked at.
const MAX_VALUE: u64 = 1024;
/// A picture in more pieces is refused.
const MAX_FRAGMENTS: usize = 1 << 16;

const ITEM: Tag = Tag(0xfffe, 0xe000);
const ITEM_END: Tag = Tag(0xfffe, 0xe00d);
const SEQUENCE_END: Tag = Tag(0xfffe, 0xe0dd);
const DEFLATED: [&str; 3] = ["1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"];

/// Types whose length has 2 bytes; that of others has 4, after 2 bytes that are reserved.
const SHORT: [&[u8; 2]; 21] = [
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
    b"ST", b"TM", b"UI", b"UL", b"US",
];

/// What stands in a DICOM file.
#[derive(Debug)]
pub(super) struct Outline {
    /// The identifier of the transfer syntax: how elements and pixels are written.
    pub(super) syntax: String,
    /// The elements of [`tags::ALL`] that there are, in explicit little-endian form whatever the file's is.
    pub(super) values: Vec<u8>,
    /// Where the pixels are, if there are any.
    pub(super) pixels: Option<Pixels>,
}

/// Where the pixels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pixels {
    /// In one piece, as they are.
    Plain {
        /// The first byte's place.
        at: u64,
        /// How many bytes there are, as far as the file says.
        length: u64,
    },
    /// Compressed, in items.
    Fragments {
        /// The first item's place.
        at: u64,
    },
}

/// How elements are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Tag, type, length.
    Explicit,
    /// Tag, length.
    Implicit,
}

/// The values that are looked at.
#[derive(Debug, Default)]
struct Kept {
    elements: Vec<u8>,
    /// Which of [`tags::ALL`] there are: one that comes again and again takes no memory.
    seen: [bool; tags::ALL.len()],
}

/// What stands before a value.
#[derive(Clone, Copy, Debug)]
struct Head {
    tag: Tag,
    kind: Option<[u8; 2]>,
    /// `None` where an item marks the end.
    length: Option<u64>,
}

impl Outline {
    /// Steps through a file of `length` bytes up to its pixels; `path` is the name for the errors.
    ///
    /// # Errors
    /// A form other than little endian, an element that claims more bytes than there are, I/O.
    pub(super) fn read(path: &Path, file: &mut (impl BufRead + Seek), length: u64) -> Result<Self, DataError> {
        let mut elements = Elements::at(path, file, length, START)?;
        let syntax = elements.syntax()?;
        let form = match syntax.as_str() {
            "1.2.840.10008.1.2" => Form::Implicit,
            "1.2.840.10008.1.2.2" => return Err(other_form(path, "in big-endian form")),
            deflated if DEFLATED.contains(&deflated) => return Err(other_form(path, "whose elements are deflated")),
            _ => Form::Explicit,
        };
        let (mut kept, mut region, mut pixels) = (Kept::default(), None, None);
        while let Some(head) = elements.head(form)? {
            match (head.tag, head.length) {
                (tags::PIXEL_DATA, Some(length)) => pixels = Some(Pixels::Plain { at: elements.at, length }),
                (tags::PIXEL_DATA, None) => pixels = Some(Pixels::Fragments { at: elements.at }),
                (tags::ANATOMIC_REGION_SEQUENCE, length) if length != Some(0) => {
                    region = Some(elements.at);
                    elements.pass(head, form)?;
                }
                // Of the region.
                (tags::CODE_MEANING, _) => elements.pass(head, form)?,
                _ => elements.keep(head, form, &mut kept)?,
            }
            if pixels.is_some() {
                break;
            }
        }
        if let Some(at) = region {
            Elements::at(path, file, length, at)?.keep_meaning(form, &mut kept)?;
        }
        Ok(Self { syntax, values: kept.elements, pixels })
    }
}

/// Where the pieces of a compressed picture are whose items start at `at`.
///
/// # Errors
/// A piece that claims more bytes than there are, no piece or very many, something else between them, I/O.
pub(super) fn fragments(
    path: &Path,
    file: &mut (impl BufRead + Seek),
    length: u64,
    at: u64,
) -> Result<Vec<Range<u64>>, DataError> {
    let mut elements = Elements::at(path, file, length, at)?;
    let (mut fragments, mut first) = (Vec::new(), true);
    // Some writers leave the end mark out.
    while let Some(head) = elements.head(Form::Explicit)? {
        match (head.tag, head.length) {
            (SEQUENCE_END, _) => break,
            (ITEM, Some(length)) => {
                let start = elements.at;
                elements.skip(length)?;
                // The first item is a table of where pictures start.
                if !first {
                    fragments.push(start..elements.at);
                }
                first = false;
            }
            _ => return Err(damaged(path, "the compressed pixels are not in pieces")),
        }
        if fragments.len() > MAX_FRAGMENTS {
            return Err(damaged(path, format!("the picture is in more than {MAX_FRAGMENTS} pieces")));
        }
    }
    match fragments.is_empty() {
        true => Err(damaged(path, "no compressed pixels")),
        false => Ok(fragments),
    }
}

/// A file of elements, at a place.
struct Elements<'a, R> {
    path: &'a Path,
    file: &'a mut R,
    at: u64,
    length: u64,
}

impl<'a, R: BufRead + Seek> Elements<'a, R> {
    fn at(path: &'a Path, file: &'a mut R, length: u64, at: u64) -> Result<Self, DataError> {
        file.seek(SeekFrom::Start(at)).map_err(|source| DataError::Io { path: path.into(), source })?;
        Ok(Self { path, file, at, length })
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DataError> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(|error| self.error(error))?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn error(&self, source: io::Error) -> DataError {
        match source.kind() {
            ErrorKind::UnexpectedEof => damaged(self.path, "the DICOM object ends within an element"),
            _ => DataError::Io { path: self.path.into(), source },
        }
    }

    fn skip(&mut self, bytes: u64) -> Result<(), DataError> {
        if bytes > self.length.saturating_sub(self.at) {
            return Err(damaged(self.path, "an element of the DICOM object claims more bytes than the file has"));
        }
        self.file.seek_relative(bytes as i64).map_err(|error| self.error(error))?;
        self.at += bytes;
        Ok(())
    }

    /// What stands before the next value; `None` at the end of the file.
    fn head(&mut self, form: Form) -> Result<Option<Head>, DataError> {
        if self.at >= self.length {
            return Ok(None);
        }
        let [g0, g1, e0, e1] = self.bytes()?;
        let tag = Tag(u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
        // Items have no type.
        let kind = match tag.0 != 0xfffe && form == Form::Explicit {
            true => Some(self.bytes::<2>()?),
            false => None,
        };
        let length = match kind {
            Some(kind) if SHORT.contains(&&kind) => u32::from(u16::from_le_bytes(self.bytes()?)),
            Some([b'A'..=b'Z', b'A'..=b'Z']) => {
                self.bytes::<2>()?;
                u32::from_le_bytes(self.bytes()?)
            }
            Some(_) => return Err(damaged(self.path, format!("the element {tag} of the DICOM object has no type"))),
            None => u32::from_le_bytes(self.bytes()?),
        };
        Ok(Some(Head { tag, kind, length: (length != u32::MAX).then_some(u64::from(length)) }))
    }

    /// The transfer syntax, which the elements of group 2 say. The file is then behind them.
    fn syntax(&mut self) -> Result<String, DataError> {
        let mut syntax = None;
        while self.at < self.length {
            let group: [u8; 2] = self.bytes()?;
            self.file.seek_relative(-2).map_err(|error| self.error(error))?;
            self.at -= 2;
            if group != [2, 0] {
                break;
            }
            let Some(head) = self.head(Form::Explicit)? else { break };
            match (head.tag, head.length) {
                (tags::TRANSFER_SYNTAX, Some(length @ ..=64)) => {
                    let value = self.value(length)?;
                    let text = String::from_utf8_lossy(&value);
                    syntax = Some(text.trim_matches(['\0', ' ']).to_owned());
                }
                _ => self.pass(head, Form::Explicit)?,
            }
        }
        syntax
            .filter(|syntax| !syntax.is_empty())
            .ok_or_else(|| damaged(self.path, "the DICOM object does not say its transfer syntax"))
    }

    /// A short value.
    fn value(&mut self, length: u64) -> Result<Vec<u8>, DataError> {
        let mut value = vec![0; length.min(MAX_VALUE) as usize];
        self.file.read_exact(&mut value).map_err(|error| self.error(error))?;
        self.at += value.len() as u64;
        Ok(value)
    }

    /// Keeps an element if it is looked at and the first of its tag, and steps over it otherwise.
    fn keep(&mut self, head: Head, form: Form, kept: &mut Kept) -> Result<(), DataError> {
        let fits = |kind: &[u8; 2]| head.kind.is_none_or(|found| found == *kind);
        let known = tags::ALL.iter().position(|(tag, kind)| *tag == head.tag && fits(kind));
        match (known, head.length) {
            (Some(known), Some(length @ ..=MAX_VALUE)) if !kept.seen[known] => {
                let value = self.value(length)?;
                kept.seen[known] = true;
                kept.elements.extend([head.tag.0, head.tag.1].into_iter().flat_map(u16::to_le_bytes));
                kept.elements.extend(tags::ALL[known].1);
                kept.elements.extend((value.len() as u16).to_le_bytes());
                kept.elements.extend(value);
                Ok(())
            }
            _ => self.pass(head, form),
        }
    }

    /// Keeps the meaning of the code that is the first item here.
    fn keep_meaning(&mut self, form: Form, kept: &mut Kept) -> Result<(), DataError> {
        if self.head(form)?.is_none_or(|head| head.tag != ITEM) {
            return Ok(());
        }
        while let Some(head) = self.head(form)? {
            // Tags ascend, and those of the end are large.
            if head.tag >= tags::CODE_MEANING {
                return if head.tag == tags::CODE_MEANING { self.keep(head, form, kept) } else { Ok(()) };
            }
            self.pass(head, form)?;
        }
        Ok(())
    }

    /// Steps over a value, whatever it holds.
    fn pass(&mut self, head: Head, form: Form) -> Result<(), DataError> {
        if let Some(length) = head.length {
            return self.skip(length);
        }
        // Sequences hold items, and items elements: odd is in a sequence, even in an item. Lengths that are given are
        // stepped over, so the rest is a matter of counting, however deep it goes.
        let mut depth = 1_u64;
        // A sequence of unknown type is in implicit form.
        let mut implicit_from = (head.kind == Some(*b"UN")).then_some(depth);
        while depth > 0 {
            let form = if implicit_from.is_some() { Form::Implicit } else { form };
            let Some(head) = self.head(form)? else {
                return Err(damaged(self.path, "the DICOM object ends within a sequence"));
            };
            match (head.tag, head.length, depth % 2 == 1) {
                (SEQUENCE_END, _, true) | (ITEM_END, _, false) => {
                    depth -= 1;
                    implicit_from = implicit_from.filter(|from| *from <= depth);
                }
                (ITEM, Some(length), true) => self.skip(length)?,
                (ITEM, None, true) => depth += 1,
                (Tag(..0xfffe, _), Some(length), false) => self.skip(length)?,
                (Tag(..0xfffe, _), None, false) => {
                    depth += 1;
                    if head.kind == Some(*b"UN") {
                        implicit_from = implicit_from.or(Some(depth));
                    }
                }
                _ => return Err(damaged(self.path, format!("{} out of place in the DICOM object", head.tag))),
            }
        }
        Ok(())
    }
}

fn other_form(path: &Path, form: &str) -> DataError {
    DataError::ImageKind { path: path.into(), found: format!("a DICOM object {form}"), remedy: REMEDY }
}
