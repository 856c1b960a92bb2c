use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::SchemaError;

/// A rectangle around a lesion, in whole pixels of its image as it is shown, that is, turned upright as the camera said.
///
/// It is written as COCO writes boxes, `x,y,width,height`: the left and the upper edge from 0, then the size. Numbers with a fraction are
/// taken by their edges, each rounded to the nearest pixel (of two as near the even one, as Pillow's `crop` does). Nothing is known here of
/// the image, so that the box may lie outside of it.
///
/// ```
/// use dermafuse_schema::LesionBox;
///
/// let found: LesionBox = "10, 20, 30.4, 40".parse()?;
/// assert_eq!(found, LesionBox::new(10, 20, 30, 40)?);
/// assert_eq!("[10 20 30 40]".parse::<LesionBox>()?.to_string(), "10,20,30,40");
/// assert_eq!(found.widened(0.1, [100, 55]).to_string(), "6,16,38,39"); // 4 pixels on each side, within the image
/// assert!(found.is_within([40, 60]) && !found.is_within([40, 59]));
/// let error = "10,20,-3,40".parse::<LesionBox>().unwrap_err().to_string();
/// assert_eq!(error, "`10,20,-3,40` is no lesion box: its width must be above 0");
/// # Ok::<(), dermafuse_schema::SchemaError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "[f64; 4]", into = "[u32; 4]")]
pub struct LesionBox {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
}

impl LesionBox {
    /// The largest edge, in pixels: far beyond every image that is read.
    const MAX_EDGE: f64 = 1e9;

    /// A box by its left and upper edge and its size.
    ///
    /// # Errors
    /// A width or height of 0; an edge beyond a thousand million pixels.
    pub fn new(x: u32, y: u32, width: u32, height: u32) -> Result<Self, SchemaError> {
        Self::of_numbers([x, y, width, height].map(f64::from))
    }

    /// A box by x, y, width and height as COCO has them.
    ///
    /// # Errors
    /// Numbers that are not finite, negative edges, a box that leaves no pixel when its edges are rounded, an edge beyond a thousand
    /// million pixels.
    pub fn of_numbers(numbers: [f64; 4]) -> Result<Self, SchemaError> {
        Self::checked(numbers)
            .map_err(|(_, reason)| refused(numbers.map(|number| number.to_string()).join(","), reason))
    }

    /// The same; where it is refused, which of the four numbers is at fault and why.
    ///
    /// # Errors
    /// As [`of_numbers`](Self::of_numbers).
    pub fn checked(numbers: [f64; 4]) -> Result<Self, (usize, &'static str)> {
        let [x, y, width, height] = numbers;
        if let Some(at) = numbers.iter().position(|number| !number.is_finite()) {
            return Err((at, "x, y, width and height must be finite numbers"));
        }
        for (at, (start, size)) in [(x, width), (y, height)].into_iter().enumerate() {
            let (of_start, of_size) = [
                ("its x must be at least 0", "its width must be above 0"),
                ("its y must be at least 0", "its height must be above 0"),
            ][at];
            if start.round_ties_even() < 0.0 {
                return Err((at, of_start));
            }
            if size <= 0.0 {
                return Err((at + 2, of_size));
            }
            if start + size > Self::MAX_EDGE {
                return Err((at + 2, "it must end before a thousand million pixels"));
            }
            if (start + size).round_ties_even() <= start.round_ties_even() {
                return Err((at + 2, "it must have a pixel when its edges are rounded"));
            }
        }
        let edge = |number: f64| number.round_ties_even() as u32;
        let [left, top] = [edge(x), edge(y)];
        Ok(Self { x: left, y: top, width: edge(x + width) - left, height: edge(y + height) - top })
    }

    /// `[x, y, width, height]`.
    #[must_use]
    pub fn xywh(self) -> [u32; 4] {
        [self.x, self.y, self.width, self.height]
    }

    /// Whether it lies within an image of `[width, height]` pixels.
    #[must_use]
    pub fn is_within(self, [width, height]: [usize; 2]) -> bool {
        let ends = |start: u32, size: u32| u64::from(start) + u64::from(size);
        ends(self.x, self.width) <= width as u64 && ends(self.y, self.height) <= height as u64
    }

    /// The box with `margin` times its longer side on each of its four sides, rounded to whole pixels, as far as an image of
    /// `[width, height]` pixels goes. Of a box that is not [within](Self::is_within) the image what is left of it, one pixel at least.
    ///
    /// ```
    /// use dermafuse_schema::LesionBox;
    ///
    /// let long = LesionBox::new(50, 50, 40, 10)?;
    /// assert_eq!(long.widened(0.25, [200, 200]).xywh(), [40, 40, 60, 30]);
    /// assert_eq!(long.widened(0.0, [200, 200]), long);
    /// assert_eq!(long.widened(9.0, [200, 100]).xywh(), [0, 0, 200, 100]); // all of the image
    /// # Ok::<(), dermafuse_schema::SchemaError>(())
    /// ```
    #[must_use]
    pub fn widened(self, margin: f64, [width, height]: [usize; 2]) -> Self {
        let more = (margin.max(0.0) * f64::from(self.width.max(self.height))).round_ties_even() as u32;
        let side = |start: u32, size: u32, end: usize| {
            let end = u32::try_from(end).unwrap_or(u32::MAX).max(1);
            let from = start.saturating_sub(more).min(end - 1);
            let to = start.saturating_add(size).saturating_add(more).min(end);
            (from, to.max(from + 1) - from)
        };
        let ((x, width), (y, height)) = (side(self.x, self.width, width), side(self.y, self.height, height));
        Self { x, y, width, height }
    }
}

fn refused(found: String, reason: &'static str) -> SchemaError {
    SchemaError::LesionBox { found, reason }
}

impl fmt::Display for LesionBox {
    /// `x,y,width,height`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { x, y, width, height } = self;
        write!(formatter, "{x},{y},{width},{height}")
    }
}

impl FromStr for LesionBox {
    type Err = SchemaError;

    /// Four numbers with commas or blanks between them, in brackets or not.
    fn from_str(text: &str) -> Result<Self, SchemaError> {
        let inner = text.trim();
        let inner = match inner.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']'),
            None => match inner.strip_prefix('(') {
                Some(rest) => rest.strip_suffix(')'),
                None => Some(inner),
            },
        };
        let error = |reason| refused(text.to_owned(), reason);
        let expected = "x,y,width,height in pixels are expected";
        let inner = inner.ok_or_else(|| error(expected))?;
        let parts: Vec<&str> = match inner.contains(',') {
            true => inner.split(',').map(str::trim).collect(),
            false => inner.split_whitespace().collect(),
        };
        let numbers: Vec<f64> =
            parts.iter().map(|part| part.parse()).collect::<Result<_, _>>().map_err(|_| error(expected))?;
        let numbers: [f64; 4] = numbers.try_into().map_err(|_| error(expected))?;
        Self::checked(numbers).map_err(|(_, reason)| error(reason))
    }
}

impl TryFrom<[f64; 4]> for LesionBox {
    type Error = SchemaError;

    fn try_from(numbers: [f64; 4]) -> Result<Self, SchemaError> {
        Self::of_numbers(numbers)
    }
}

impl From<LesionBox> for [u32; 4] {
    fn from(lesion: LesionBox) -> Self {
        lesion.xywh()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(text: &str) -> String {
        text.parse::<LesionBox>().unwrap_err().to_string()
    }

    #[test]
    fn edges_are_rounded_as_pillow_rounds_them() {
        // Image.crop((x, y, x + width, y + height)) of Pillow 10: `map(int, map(round, box))`.
        for (numbers, expected) in [
            ([0.5, 1.5, 2.0, 2.0], [0, 2, 2, 2]),
            ([0.4, 0.6, 0.2, 0.9], [0, 1, 1, 1]),
            ([10.0, 20.0, 30.4999, 40.5], [10, 20, 30, 40]),
            ([-0.3, -0.5, 3.0, 3.0], [0, 0, 3, 2]),
            ([99.0, 0.0, 1.000_01, 1.0], [99, 0, 1, 1]),
        ] {
            assert_eq!(LesionBox::of_numbers(numbers).unwrap().xywh(), expected, "{numbers:?}");
        }
    }

    #[test]
    fn what_is_no_box_is_refused_with_the_reason() {
        let expected = "x,y,width,height in pixels are expected";
        for text in
            ["", "1,2,3", "1,2,3,4,5", "1 2 3", "a,b,c,d", "[1,2,3,4", "1,2,3,4]", "(1,2,3,4]", "1;2;3;4", "1,2,,4"]
        {
            assert_eq!(refused(text), format!("`{text}` is no lesion box: {expected}"));
        }
        for (text, reason) in [
            ("-1,2,3,4", "its x must be at least 0"),
            ("1,-0.6,3,4", "its y must be at least 0"),
            ("1,2,0,4", "its width must be above 0"),
            ("1,2,3,-4", "its height must be above 0"),
            ("1.1,2,0.2,4", "it must have a pixel when its edges are rounded"),
            ("1,2,1e9,4", "it must end before a thousand million pixels"),
            ("1,2,NaN,4", "x, y, width and height must be finite numbers"),
            ("1,2,3,inf", "x, y, width and height must be finite numbers"),
        ] {
            assert_eq!(refused(text), format!("`{text}` is no lesion box: {reason}"));
        }
        assert!(LesionBox::new(u32::MAX, 0, 1, 1).is_err());
        assert!(LesionBox::new(0, 0, 0, 1).is_err());
        assert!(serde_json::from_str::<LesionBox>("[1, 2, 0, 4]").is_err());
        assert_eq!(serde_json::to_string(&LesionBox::new(1, 2, 3, 4).unwrap()).unwrap(), "[1,2,3,4]");
    }

    proptest! {
        #[test]
        fn a_widened_box_lies_within_the_image_and_holds_the_box(
            (width, height) in (1_u32..500, 1_u32..500),
            shares in [0.0..1.0_f64, 0.0..1.0, 0.0..1.0, 0.0..1.0],
            margin in 0.0..3.0_f64,
        ) {
            let part = |share: f64, of: u32| ((share * f64::from(of)) as u32).min(of - 1);
            let (x, y) = (part(shares[0], width), part(shares[1], height));
            let lesion = LesionBox::new(x, y, 1 + part(shares[2], width - x), 1 + part(shares[3], height - y)).unwrap();
            let size = [width as usize, height as usize];
            prop_assert!(lesion.is_within(size));
            let wide = lesion.widened(margin, size);
            prop_assert!(wide.is_within(size));
            let ([x, y, w, h], [wx, wy, ww, wh]) = (lesion.xywh(), wide.xywh());
            prop_assert!(wx <= x && wy <= y && wx + ww >= x + w && wy + wh >= y + h);
        }

        #[test]
        fn what_is_written_is_read(numbers in [0_u32..10_000, 0_u32..10_000, 1_u32..10_000, 1_u32..10_000]) {
            let [x, y, width, height] = numbers;
            let lesion = LesionBox::new(x, y, width, height).unwrap();
            prop_assert_eq!(lesion.xywh(), numbers);
            prop_assert_eq!(lesion.to_string().parse::<LesionBox>().unwrap(), lesion);
            let json = serde_json::to_string(&lesion).unwrap();
            prop_assert_eq!(serde_json::from_str::<LesionBox>(&json).unwrap(), lesion);
        }

        #[test]
        fn no_text_is_a_panic(text in ".{0,40}") {
            let _ = text.parse::<LesionBox>();
        }
    }
}
