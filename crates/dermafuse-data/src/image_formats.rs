//! The formats of image files that are read, which errors name.

/// The extensions, in lower case, of the image files that are read; `dcm` and `dicom` are among them with the feature
/// `dicom`. A file of such a name may hold any of the formats.
pub const IMAGE_EXTENSIONS: &[&str] = match cfg!(feature = "dicom") {
    true => &["jpg", "jpeg", "jpe", "jfif", "png", "bmp", "webp", "tif", "tiff", "dcm", "dicom"],
    false => &["jpg", "jpeg", "jpe", "jfif", "png", "bmp", "webp", "tif", "tiff"],
};

/// The formats that are read, for messages.
pub(crate) const READ_FORMATS: &str = match cfg!(feature = "dicom") {
    true => "JPEG, PNG, BMP, WebP, TIFF or 8-bit DICOM",
    false => "JPEG, PNG, BMP, WebP or TIFF",
};
