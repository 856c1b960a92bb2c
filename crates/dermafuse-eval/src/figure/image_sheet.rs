use super::svg::{Anchor, Svg, fit};
use crate::SampleImage;

/// The side of a picture, in pixels.
const SIDE: f64 = 96.0;
/// The space between pictures.
const SPACE: f64 = 6.0;
/// The width of the names of rows.
const NAMES: f64 = 124.0;
/// The height of the heading and the names of columns.
const HEAD: f64 = 44.0;

/// Named rows of square pictures under named columns, such as an image under several corruptions. The pictures are part of the
/// drawing: give small ones (some 96 pixels wide). A row may have fewer pictures than there are columns.
#[must_use]
pub fn image_sheet(title: &str, columns: &[String], rows: &[(String, Vec<SampleImage>)]) -> String {
    let along = |column: usize| NAMES + column as f64 * (SIDE + SPACE);
    let down = |row: usize| HEAD + row as f64 * (SIDE + SPACE);
    let mut svg = Svg::new(title, along(columns.len()), down(rows.len()));
    svg.heading();
    for (column, name) in columns.iter().enumerate() {
        svg.text((along(column) + SIDE / 2.0, HEAD - 8.0), Anchor::Middle, "", &fit(name, SIDE));
    }
    for (row, (name, images)) in rows.iter().enumerate() {
        svg.text((NAMES - 10.0, down(row) + SIDE / 2.0 + 4.0), Anchor::End, "", &fit(name, NAMES - 10.0));
        for (column, image) in images.iter().enumerate().take(columns.len()) {
            svg.image((along(column), down(row)), (SIDE, SIDE), image);
        }
    }
    svg.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_is_in_its_place() {
        let image = |byte: u8| SampleImage { mime: "image/png".into(), bytes: vec![byte; 3] };
        let rows = [("clean".to_owned(), vec![image(0)]), ("hair".to_owned(), vec![image(1), image(2), image(3)])];
        let svg = image_sheet("A case", &["1".to_owned(), "5".to_owned()], &rows);
        assert_eq!(svg.matches("<image ").count(), 3);
        assert!(
            svg.contains("x=\"226\" y=\"146\" width=\"96\" height=\"96\" href=\"data:image/png;base64,AgIC\""),
            "{svg}"
        );
        assert!(svg.contains(">hair</text>") && svg.contains(">A case</text>"));
    }
}
