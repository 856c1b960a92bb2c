use std::fmt;
use std::str::FromStr;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::InferError;

/// How many transformed views of each image are predicted and averaged. Written as its number of views: 0, 3, 4 or 6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum TestTimeAugmentation {
    /// The image as it is.
    Off,
    /// The image, its vertical and its horizontal flip.
    Three,
    /// The three, and both flips at once.
    Four,
    /// The four, and both quarter turns: as released.
    #[default]
    Six,
}

/// One way to look at an image; applied alike to both images of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// As it is.
    Identity,
    /// Upside down.
    FlipVertical,
    /// Left to right.
    FlipHorizontal,
    /// Both flips: a half turn.
    FlipBoth,
    /// A quarter turn clockwise.
    TurnClockwise,
    /// A quarter turn counter-clockwise.
    TurnCounterClockwise,
}

impl TestTimeAugmentation {
    /// The views, the untransformed one first.
    #[must_use]
    pub fn views(self) -> &'static [View] {
        use View::{FlipBoth, FlipHorizontal, FlipVertical, Identity, TurnClockwise, TurnCounterClockwise};
        match self {
            Self::Off => &[Identity],
            Self::Three => &[Identity, FlipVertical, FlipHorizontal],
            Self::Four => &[Identity, FlipVertical, FlipHorizontal, FlipBoth],
            Self::Six => &[Identity, FlipVertical, FlipHorizontal, FlipBoth, TurnClockwise, TurnCounterClockwise],
        }
    }
}

impl View {
    /// # Shapes
    /// `[B, C, H, W]` → `[B, C, H, W]`, or `[B, C, W, H]` for a quarter turn.
    #[must_use]
    pub fn apply(self, images: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Identity => images,
            Self::FlipVertical => images.flip([2]),
            Self::FlipHorizontal => images.flip([3]),
            Self::FlipBoth => images.flip([2, 3]),
            Self::TurnClockwise => images.swap_dims(2, 3).flip([3]), // [B, C, W, H]
            Self::TurnCounterClockwise => images.swap_dims(2, 3).flip([2]), // [B, C, W, H]
        }
    }
}

impl fmt::Display for TestTimeAugmentation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        u8::from(*self).fmt(formatter)
    }
}

impl From<TestTimeAugmentation> for u8 {
    fn from(augmentation: TestTimeAugmentation) -> Self {
        match augmentation {
            TestTimeAugmentation::Off => 0,
            TestTimeAugmentation::Three => 3,
            TestTimeAugmentation::Four => 4,
            TestTimeAugmentation::Six => 6,
        }
    }
}

impl TryFrom<u8> for TestTimeAugmentation {
    type Error = InferError;

    fn try_from(views: u8) -> Result<Self, InferError> {
        let all = [Self::Off, Self::Three, Self::Four, Self::Six];
        let known = all.into_iter().find(|&augmentation| u8::from(augmentation) == views);
        known.ok_or_else(|| InferError::TestTimeAugmentation { found: views.to_string() })
    }
}

impl FromStr for TestTimeAugmentation {
    type Err = InferError;

    fn from_str(text: &str) -> Result<Self, InferError> {
        let unknown = || InferError::TestTimeAugmentation { found: text.to_owned() };
        text.parse::<u8>().map_err(|_| unknown())?.try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn each_view_is_its_transform_by_hand() {
        let image = Tensor::<4>::from_data([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]], &Device::flex());
        let expected: [(View, [usize; 2], [f32; 6]); 6] = [
            (View::Identity, [2, 3], [1., 2., 3., 4., 5., 6.]),
            (View::FlipVertical, [2, 3], [4., 5., 6., 1., 2., 3.]),
            (View::FlipHorizontal, [2, 3], [3., 2., 1., 6., 5., 4.]),
            (View::FlipBoth, [2, 3], [6., 5., 4., 3., 2., 1.]),
            (View::TurnClockwise, [3, 2], [4., 1., 5., 2., 6., 3.]),
            (View::TurnCounterClockwise, [3, 2], [3., 6., 2., 5., 1., 4.]),
        ];
        for (view, [height, width], pixels) in expected {
            let turned = view.apply(image.clone());
            assert_eq!(turned.dims(), [1, 1, height, width]);
            assert_eq!(turned.into_data().try_to_vec::<f32>().unwrap(), pixels, "{view:?}");
        }
    }

    #[test]
    fn only_the_published_numbers_of_views_parse() {
        for text in ["0", "3", "4", "6"] {
            assert_eq!(text.parse::<TestTimeAugmentation>().unwrap().to_string(), text);
        }
        let error = "5".parse::<TestTimeAugmentation>().unwrap_err().to_string();
        assert_eq!(error, "unknown test-time augmentation `5`; use 0, 3, 4 or 6 (views)");
    }
}
