//! Which way up an image is, from its EXIF or XMP data. EXIF wins where both say it.

use image::metadata::Orientation;

const ORIENTATION: u16 = 0x112;

/// The orientation in EXIF data, or in a TIFF file of up to 4 GB, as a number of any width and in either byte order.
pub(super) fn from_exif(data: &[u8]) -> Option<Orientation> {
    let data = data.strip_prefix(b"Exif\0\0").unwrap_or(data);
    let order = match data.get(..4)? {
        b"II*\0" => Order::Little,
        b"MM\0*" => Order::Big,
        _ => return None,
    };
    let directory = order.u32(data, 4)? as usize;
    let entries = usize::from(order.u16(data, directory)?);
    let mut tags = (0..entries).filter_map(|entry| directory.checked_add(2 + 12 * entry));
    let entry = tags.find(|&at| order.u16(data, at) == Some(ORIENTATION))?;
    if order.u32(data, entry + 4)? == 0 {
        return None;
    }
    // BYTE, SHORT, LONG and the signed ones.
    let value = match order.u16(data, entry + 2)? {
        1 | 6 => u32::from(*data.get(entry + 8)?),
        3 | 8 => u32::from(order.u16(data, entry + 8)?),
        4 | 9 => order.u32(data, entry + 8)?,
        _ => return None,
    };
    Orientation::from_exif(u8::try_from(value).ok()?)
}

/// The orientation in an XMP packet: `tiff:Orientation` as an attribute or an element.
pub(super) fn from_xmp(packet: &[u8]) -> Option<Orientation> {
    const NAME: &[u8] = b"tiff:Orientation";
    let at = packet.windows(NAME.len()).position(|window| window == NAME)?;
    let rest = packet[at + NAME.len()..].trim_ascii_start();
    let value = match rest.split_first()? {
        (b'=', value) => {
            value.trim_ascii_start().strip_prefix(b"\"").or(value.trim_ascii_start().strip_prefix(b"'"))?
        }
        (b'>', value) => value,
        _ => return None,
    };
    match value.trim_ascii_start() {
        [digit @ b'1'..=b'8', end, ..] if !end.is_ascii_digit() => Orientation::from_exif(digit - b'0'),
        _ => None,
    }
}

enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(&self, data: &[u8], at: usize) -> Option<u16> {
        let bytes = data.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        })
    }

    fn u32(&self, data: &[u8], at: usize) -> Option<u32> {
        let bytes = data.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        })
    }
}

/// EXIF data and an XMP packet, as pieces of a file.
#[derive(Debug, Default)]
pub(super) struct Metadata<'a> {
    pub(super) exif: Option<&'a [u8]>,
    pub(super) xmp: Option<&'a [u8]>,
}

impl<'a> Metadata<'a> {
    /// What the chunks of a PNG file hold, wherever they stand.
    pub(super) fn of_png(bytes: &'a [u8]) -> Self {
        let mut found = Self::default();
        let mut rest = bytes.get(8..).unwrap_or_default();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some((name, after)) = after.split_first_chunk::<4>() else { break };
            let Some(data) = after.get(..length) else { break };
            match name {
                b"eXIf" => found.exif = found.exif.or(Some(data)),
                b"iTXt" => found.xmp = found.xmp.or_else(|| plain_text(data)),
                _ => {}
            }
            rest = after.get(length + 4..).unwrap_or_default();
        }
        found
    }

    /// What the chunks of a WebP file hold.
    pub(super) fn of_webp(bytes: &'a [u8]) -> Self {
        let mut found = Self::default();
        let mut rest = bytes.get(12..).unwrap_or_default();
        while let Some((name, after)) = rest.split_first_chunk::<4>() {
            let Some((length, after)) = after.split_first_chunk::<4>() else { break };
            let length = u32::from_le_bytes(*length) as usize;
            let Some(data) = after.get(..length) else { break };
            match name {
                b"EXIF" => found.exif = found.exif.or(Some(data)),
                b"XMP " => found.xmp = found.xmp.or(Some(data)),
                _ => {}
            }
            // Chunks are of even length.
            rest = after.get(length + length % 2..).unwrap_or_default();
        }
        found
    }

    pub(super) fn orientation(&self) -> Option<Orientation> {
        self.exif.and_then(from_exif).or_else(|| self.xmp.and_then(from_xmp))
    }
}

/// The XMP packet in a PNG's international text that is not compressed.
fn plain_text(data: &[u8]) -> Option<&[u8]> {
    let rest = data.strip_prefix(b"XML:com.adobe.xmp\0\0")?;
    // Compression method, language tag, translated keyword.
    let mut parts = rest.get(1..)?.splitn(3, |byte| *byte == 0);
    parts.nth(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EXIF data with one tag before the orientation.
    fn exif(big: bool, kind: u16, value: u32) -> Vec<u8> {
        let u16 = |value: u16| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let u32 = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let field = match kind {
            1 | 6 => [value as u8, 0, 0, 0],
            3 | 8 => [u16(value as u16), [0; 2]].concat().try_into().unwrap(),
            _ => u32(value),
        };
        let tag = |tag, kind, field: [u8; 4]| [&u16(tag)[..], &u16(kind), &u32(1), &field].concat();
        [if big { &b"MM\0*"[..] } else { b"II*\0" }, &u32(8), &u16(2), &tag(0x10f, 3, [0; 4]), &tag(0x112, kind, field)]
            .concat()
    }

    #[test]
    fn exif_numbers_of_every_width_and_order_are_read() {
        for big in [false, true] {
            for kind in [1, 3, 4, 6, 8, 9] {
                for value in 1..=8 {
                    let expected = Orientation::from_exif(value as u8);
                    assert_eq!(from_exif(&exif(big, kind, value)), expected, "{big} {kind} {value}");
                    assert_eq!(from_exif(&[&b"Exif\0\0"[..], &exif(big, kind, value)].concat()), expected);
                }
                assert_eq!(from_exif(&exif(big, kind, 0)), None);
                assert_eq!(from_exif(&exif(big, kind, 9)), None);
            }
            for kind in [0, 2, 5, 12] {
                assert_eq!(from_exif(&exif(big, kind, 6)), None, "{kind} is no whole number");
            }
            assert_eq!(from_exif(&exif(big, 4, 0x0600_0000)), None);
            let whole = exif(big, 4, 6);
            for cut in 0..whole.len() {
                assert_eq!(from_exif(&whole[..cut]), None, "{cut}");
            }
        }
        assert_eq!(from_exif(b"II*\0\xff\xff\xff\xff"), None);
    }

    #[test]
    fn xmp_attributes_and_elements_are_read() {
        let right = [
            "<x tiff:Orientation=\"6\">",
            "<x tiff:Orientation='6'/>",
            "<x tiff:Orientation = \"6\" y='1'>",
            "<tiff:Orientation>6</tiff:Orientation>",
            "<tiff:Orientation>\n  6 </tiff:Orientation>",
        ];
        for packet in right {
            assert_eq!(from_xmp(packet.as_bytes()), Some(Orientation::Rotate90), "{packet}");
        }
        for packet in [
            "",
            "tiff:Orientation",
            "tiff:Orientation=",
            "tiff:Orientation=\"",
            "tiff:Orientation=\"9\"",
            "tiff:Orientation=\"66\"",
            "tiff:Orientation=6 ",
            "<tiff:Orientation>6",
            "exif:Orientation=\"6\"",
        ] {
            assert_eq!(from_xmp(packet.as_bytes()), None, "{packet}");
        }
    }
}
