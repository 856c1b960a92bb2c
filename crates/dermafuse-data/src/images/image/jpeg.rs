//! The segments of a JPEG file, as libjpeg finds them: bytes that stand between two segments are passed over.

use std::borrow::Cow;
use std::io::{self, BufRead, Seek, SeekFrom};
use std::ops::Range;

use super::orientation::Metadata;

const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;

/// What the headers up to the first scan say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JpegHeader {
    pub(super) width: usize,
    pub(super) height: usize,
    /// Whether the first scan has only a part of the picture: the coefficients of all of it are held while it is decoded.
    pub(super) in_scans: bool,
    /// Bytes of those coefficients, or 0.
    pub(super) coefficients: u64,
    /// Whether the picture is coded in a way that is decoded: Huffman, in blocks, of 8 bits.
    pub(super) known: bool,
    /// Where the picture's data start.
    pub(super) data: u64,
}

/// A segment: its marker and what stands behind its length.
struct Segment {
    marker: u8,
    content: u64,
    length: u64,
}

/// Reads the headers, or `None` if they end before they say what is needed.
pub(super) fn read_header(file: &mut (impl BufRead + Seek)) -> io::Result<Option<JpegHeader>> {
    file.seek(SeekFrom::Start(2))?;
    let (mut frame, mut at) = (None, 2);
    while let Some(segment) = next_segment(file, &mut at)? {
        match segment.marker {
            // Frames, but for tables of Huffman codes, extensions and arithmetic conditioning.
            0xc0..=0xcf if ![0xc4, 0xc8, 0xcc].contains(&segment.marker) => {
                let mut content = vec![0; segment.length.min(6 + 3 * 255) as usize];
                file.read_exact(&mut content)?;
                frame = Some((segment.marker, content));
            }
            START_OF_SCAN => {
                let mut components = [0];
                file.read_exact(&mut components)?;
                let data = segment.content + segment.length;
                return Ok(frame.and_then(|(marker, content)| header(marker, &content, components[0], data)));
            }
            _ => {}
        }
        at = segment.content + segment.length;
        file.seek(SeekFrom::Start(at))?;
    }
    Ok(None)
}

fn header(marker: u8, frame: &[u8], scanned: u8, data: u64) -> Option<JpegHeader> {
    let &[bits, h1, h0, w1, w0, count, ref components @ ..] = frame else { return None };
    let (width, height) = (usize::from(u16::from_be_bytes([w1, w0])), usize::from(u16::from_be_bytes([h1, h0])));
    let sampling: Vec<(u64, u64)> = components
        .chunks_exact(3)
        .take(usize::from(count))
        .map(|component| (u64::from(component[1] >> 4), u64::from(component[1] & 15)))
        .collect();
    let widest = sampling.iter().map(|(across, _)| *across).max()?.max(1);
    let highest = sampling.iter().map(|(_, down)| *down).max()?.max(1);
    let blocks = |(across, down): &(u64, u64)| {
        (width as u64).div_ceil(8 * widest) * across * (height as u64).div_ceil(8 * highest) * down
    };
    let in_scans = !matches!(marker, 0xc0 | 0xc1) || usize::from(scanned) < sampling.len();
    let coefficients = if in_scans { 2 * 64 * sampling.iter().map(blocks).sum::<u64>() } else { 0 };
    let known = matches!(marker, 0xc0..=0xc2) && bits == 8;
    Some(JpegHeader { width, height, in_scans, coefficients, known, data })
}

/// The next segment that has a content, and the file at its start. `None` at the end of the file or of the image.
fn next_segment(file: &mut (impl BufRead + Seek), at: &mut u64) -> io::Result<Option<Segment>> {
    loop {
        let Some(marker) = next_marker(file, at)? else { return Ok(None) };
        match marker {
            START_OF_IMAGE | END_OF_IMAGE => return Ok(None),
            // Markers without content.
            0x01 | 0xd0..=0xd7 => continue,
            _ => {}
        }
        let mut length = [0; 2];
        if let Err(error) = file.read_exact(&mut length) {
            return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
        }
        let content = *at + 2;
        return Ok(u64::from(u16::from_be_bytes(length)).checked_sub(2).map(|length| Segment {
            marker,
            content,
            length,
        }));
    }
}

/// The next marker; `at` is then behind it.
fn next_marker(file: &mut impl BufRead, at: &mut u64) -> io::Result<Option<u8>> {
    let mut after_ff = false;
    loop {
        let buffer = file.fill_buf()?;
        let Some(&byte) = buffer.first() else { return Ok(None) };
        file.consume(1);
        *at += 1;
        match (after_ff, byte) {
            (_, 0xff) => after_ff = true,
            (true, 1..) => return Ok(Some(byte)),
            _ => after_ff = false,
        }
    }
}

/// The file without the bytes that stand between the segments before the first scan. They are no part of the picture:
/// libjpeg, and so Pillow, warns and reads on.
pub(super) fn without_stray_bytes(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut file = io::Cursor::new(bytes);
    let (mut kept, mut strays): (Vec<Range<usize>>, bool) = (Vec::new(), false);
    let (mut start, mut at) = (0, 2_u64);
    file.set_position(at);
    // A cursor does not fail.
    while let Ok(Some(segment)) = next_segment(&mut file, &mut at) {
        let before = if kept.is_empty() { 2 } else { start };
        let opening = segment.content as usize - 4;
        if kept.is_empty() {
            kept.push(0..2);
        }
        strays |= opening != before;
        if segment.marker == START_OF_SCAN {
            kept.push(opening..bytes.len());
            break;
        }
        let end = (segment.content + segment.length).min(bytes.len() as u64);
        kept.push(opening..end as usize);
        (start, at) = (end as usize, end);
        file.set_position(at);
    }
    let whole = kept.last().is_some_and(|last| last.end == bytes.len());
    match strays && whole {
        true => Cow::Owned(kept.into_iter().flat_map(|range| &bytes[range]).copied().collect()),
        false => Cow::Borrowed(bytes),
    }
}

/// The EXIF data and the XMP packet in the headers.
pub(super) fn metadata(bytes: &[u8]) -> Metadata<'_> {
    let mut found = Metadata::default();
    each_header(bytes, |marker, content| {
        if marker == 0xe1 {
            let part = |name: &[u8]| content.strip_prefix(name);
            found.exif = found.exif.or(part(b"Exif\0"));
            found.xmp = found.xmp.or(part(b"http://ns.adobe.com/xap/1.0/\0"));
        }
    });
    // Behind the name stands a byte that is mostly, but not always, 0.
    found.exif = found.exif.and_then(|exif| exif.get(1..));
    found
}

/// Whether the headers say of what colours the components are: by JFIF, YCbCr, or as Adobe's segment has it.
pub(super) fn says_colours(bytes: &[u8]) -> bool {
    let mut says = false;
    each_header(bytes, |marker, content| {
        says |= matches!(marker, 0xe0 if content.starts_with(b"JFIF\0"));
        says |= matches!(marker, 0xee if content.starts_with(b"Adobe"));
    });
    says
}

/// Calls `look` with the marker and the content of each segment before the first scan.
fn each_header<'a>(bytes: &'a [u8], mut look: impl FnMut(u8, &'a [u8])) {
    let (mut file, mut at) = (io::Cursor::new(bytes), 2);
    file.set_position(at);
    while let Ok(Some(segment)) = next_segment(&mut file, &mut at) {
        if segment.marker == START_OF_SCAN {
            break;
        }
        at = segment.content + segment.length;
        file.set_position(at);
        look(segment.marker, bytes.get(segment.content as usize..at as usize).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
        [&[0xff, marker][..], &(content.len() as u16 + 2).to_be_bytes(), content].concat()
    }

    fn file(between: &[u8]) -> Vec<u8> {
        let frame = [8, 0, 20, 0, 30, 3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0];
        let scan = [3, 1, 0, 2, 0, 3, 0, 0, 63, 0];
        let parts = [segment(0xe0, b"JFIF\0"), segment(0xdb, &[7; 65]), segment(0xc0, &frame), segment(0xda, &scan)];
        let mut bytes = vec![0xff, 0xd8];
        for part in parts {
            bytes.extend(part);
            bytes.extend(between);
        }
        bytes.extend(b"data\xff\0data\xff\xd9");
        bytes
    }

    #[test]
    fn strays_between_headers_go_and_nothing_else() {
        let clean = file(b"");
        assert!(matches!(without_stray_bytes(&clean), Cow::Borrowed(_)));
        for stray in [&b"\0\x12"[..], b"\xff\0", b"\xff\xff\xff", b"\0\0\0\0\0", b"\xff\xd0", b"abc\xff\0\xff\xff"] {
            let mut expected = clean.clone();
            // What stands behind the scan's header is data.
            let data = expected.len() - b"data\xff\0data\xff\xd9".len();
            expected.splice(data..data, stray.iter().copied());
            assert_eq!(without_stray_bytes(&file(stray)).as_ref(), expected, "{stray:?}");
            let header = read_header(&mut io::Cursor::new(&file(stray))).unwrap().unwrap();
            assert_eq!((header.width, header.height, header.in_scans, header.known), (30, 20, false, true));
            assert_eq!(header.data as usize, data + 3 * stray.len());
        }
        for cut in 2..clean.len() {
            assert!(clean.starts_with(&without_stray_bytes(&clean[..cut])), "{cut}");
        }
        assert_eq!(without_stray_bytes(&clean[..2]).as_ref(), &clean[..2]);
    }

    #[test]
    fn coefficients_are_counted_where_they_are_held() {
        let mut bytes = file(b"");
        let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        bytes[frame + 1] = 0xc2;
        let header = read_header(&mut io::Cursor::new(&bytes)).unwrap().unwrap();
        // 2 x 2 units of 4 + 1 + 1 blocks.
        assert_eq!((header.in_scans, header.coefficients), (true, 2 * 2 * 6 * 64 * 2));
        bytes[frame + 1] = 0xc9;
        assert!(!read_header(&mut io::Cursor::new(&bytes)).unwrap().unwrap().known);
        for cut in 0..bytes.len() - 16 {
            let header = read_header(&mut io::Cursor::new(&bytes[..cut]));
            assert!(!matches!(header, Ok(Some(header)) if header.data as usize <= cut), "{cut}");
        }
    }
}
