//! The elements that are looked at.

use dicom_object::Tag;

pub(super) const TRANSFER_SYNTAX: Tag = Tag(0x0002, 0x0010);
pub(super) const CHARACTER_SET: Tag = Tag(0x0008, 0x0005);
pub(super) const CODE_MEANING: Tag = Tag(0x0008, 0x0104);
pub(super) const ANATOMIC_REGION_SEQUENCE: Tag = Tag(0x0008, 0x2218);
pub(super) const PATIENT_SEX: Tag = Tag(0x0010, 0x0040);
pub(super) const PATIENT_AGE: Tag = Tag(0x0010, 0x1010);
pub(super) const BODY_PART_EXAMINED: Tag = Tag(0x0018, 0x0015);
pub(super) const SAMPLES_PER_PIXEL: Tag = Tag(0x0028, 0x0002);
pub(super) const PHOTOMETRIC_INTERPRETATION: Tag = Tag(0x0028, 0x0004);
pub(super) const PLANAR_CONFIGURATION: Tag = Tag(0x0028, 0x0006);
pub(super) const NUMBER_OF_FRAMES: Tag = Tag(0x0028, 0x0008);
pub(super) const ROWS: Tag = Tag(0x0028, 0x0010);
pub(super) const COLUMNS: Tag = Tag(0x0028, 0x0011);
pub(super) const BITS_ALLOCATED: Tag = Tag(0x0028, 0x0100);
pub(super) const BITS_STORED: Tag = Tag(0x0028, 0x0101);
pub(super) const PIXEL_REPRESENTATION: Tag = Tag(0x0028, 0x0103);
pub(super) const PIXEL_DATA: Tag = Tag(0x7fe0, 0x0010);

/// The elements whose values are read, with their types. [`CODE_MEANING`] is that of the region's first item.
pub(super) const ALL: [(Tag, &[u8; 2]); 14] = [
    (CHARACTER_SET, b"CS"),
    (CODE_MEANING, b"LO"),
    (PATIENT_SEX, b"CS"),
    (PATIENT_AGE, b"AS"),
    (BODY_PART_EXAMINED, b"CS"),
    (SAMPLES_PER_PIXEL, b"US"),
    (PHOTOMETRIC_INTERPRETATION, b"CS"),
    (PLANAR_CONFIGURATION, b"US"),
    (NUMBER_OF_FRAMES, b"IS"),
    (ROWS, b"US"),
    (COLUMNS, b"US"),
    (BITS_ALLOCATED, b"US"),
    (BITS_STORED, b"US"),
    (PIXEL_REPRESENTATION, b"US"),
];
