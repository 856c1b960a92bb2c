//! Pictures that show no lesion, for asking a model about what it has never seen: plain areas, gradients, checkerboards, stripes,
//! lines of writing, landscapes, foliage, noise and balls.
//!
//! A third of the pictures is drawn in colours of skin, so that colour alone does not give them away.

use std::fmt;
use std::path::Path;

use dermafuse_data::{DataError, RgbPixels, SYNTHETIC_MARKER, encode_png};
use rayon::prelude::*;

use crate::files::{NOTICE, write_file, write_table};
use crate::noise::{Stream, derive, fractal, fractal_stretched};
use crate::view::View;

/// What a picture shows instead of a lesion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NonLesion {
    /// One colour.
    Plain,
    /// A colour that becomes another one.
    Gradient,
    /// Squares of two colours.
    Checkerboard,
    /// Stripes of two colours, at any angle.
    Stripes,
    /// Dark marks in lines on a light ground, as of writing.
    Writing,
    /// A sky over hills.
    Landscape,
    /// Blotches in three colours, as of leaves.
    Foliage,
    /// Each pixel has a colour of its own.
    Noise,
    /// Shaded balls on a ground.
    Balls,
}

impl NonLesion {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Plain,
        Self::Gradient,
        Self::Checkerboard,
        Self::Stripes,
        Self::Writing,
        Self::Landscape,
        Self::Foliage,
        Self::Noise,
        Self::Balls,
    ];

    /// The name, e.g. `checkerboard`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gradient => "gradient",
            Self::Checkerboard => "checkerboard",
            Self::Stripes => "stripes",
            Self::Writing => "writing",
            Self::Landscape => "landscape",
            Self::Foliage => "foliage",
            Self::Noise => "noise",
            Self::Balls => "balls",
        }
    }

    /// Draws a picture; `size` is width and height in pixels. The same arguments give the same pixels.
    ///
    /// ```
    /// use dermafuse_synthetic::NonLesion;
    ///
    /// let board = NonLesion::Checkerboard.draw((64, 48), 7);
    /// assert_eq!((board.width(), board.height()), (64, 48));
    /// assert_eq!(board, NonLesion::Checkerboard.draw((64, 48), 7));
    /// ```
    ///
    /// # Panics
    /// If a side of the picture is zero.
    #[must_use]
    pub fn draw(self, size: (u32, u32), seed: u64) -> RgbPixels {
        assert!(size.0 > 0 && size.1 > 0, "a picture has at least one pixel");
        let (width, height) = (size.0 as usize, size.1 as usize);
        let mut stream = Stream::new(seed, self.name());
        let canvas = Canvas::new(width, height, &mut stream);
        let data = match self {
            Self::Plain => canvas.mixed(|_, _| 0.0),
            Self::Gradient => canvas.gradient(&mut stream),
            Self::Checkerboard => {
                let side = stream.range(0.04, 0.25);
                canvas.mixed(|u, v| ((u / side).floor() + (v / side).floor()).rem_euclid(2.0))
            }
            Self::Stripes => {
                let (angle, width) = (stream.angle(), stream.range(0.02, 0.15));
                canvas.mixed(|u, v| ((u * angle.cos() + v * angle.sin()) / width).floor().rem_euclid(2.0))
            }
            Self::Writing => canvas.writing(&mut stream),
            Self::Landscape => canvas.landscape(&mut stream),
            Self::Foliage => canvas.foliage(&mut stream),
            Self::Noise => (0..3 * width * height).map(|_| stream.range(0.0, 256.0) as u8).collect(),
            Self::Balls => canvas.balls(&mut stream),
        };
        RgbPixels::new(width, height, data).expect("there are three bytes for each pixel")
    }
}

impl fmt::Display for NonLesion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// Writes `count` pairs of pictures without a lesion, kind by kind, and a table `cases.csv` with the columns `case`, `clinical` and
/// `dermoscopic`, as `dermafuse predict --table` reads it. The two pictures of a pair are of one kind.
///
/// # Errors
/// A file that cannot be written.
///
/// # Panics
/// If a side of the pictures is zero.
pub fn write_non_lesions(folder: &Path, count: usize, size: (u32, u32), seed: u64) -> Result<(), DataError> {
    let pairs: Vec<(usize, NonLesion)> = (0..count).zip(NonLesion::ALL.into_iter().cycle()).collect();
    let rows = pairs.par_iter().map(|(index, kind)| {
        let name = format!("{kind}-{index:04}");
        let files = ["clinical", "dermoscopic"].map(|view| (view, format!("images/{name}-{view}.png")));
        for (view, file) in &files {
            let pixels = kind.draw(size, derive(seed, &format!("{name}-{view}")));
            write_file(&folder.join(file), &encode_png(&pixels))?;
        }
        let [(_, clinical), (_, dermoscopic)] = files;
        Ok(vec![name, clinical, dermoscopic])
    });
    let rows = rows.collect::<Result<Vec<_>, DataError>>()?;
    let header = ["case", "clinical", "dermoscopic"].map(str::to_owned).to_vec();
    write_file(&folder.join(SYNTHETIC_MARKER), NOTICE.as_bytes())?;
    write_table(&folder.join("cases.csv"), &[vec![header], rows].concat())
}

/// A colour as red, green and blue from 0 to 255.
type Colour = [f32; 3];

/// A picture in two colours and a third, in units of its height from its upper left corner.
struct Canvas {
    view: View,
    seed: u64,
    colours: [Colour; 3],
}

impl Canvas {
    fn new(width: usize, height: usize, stream: &mut Stream) -> Self {
        let view = View { width, height, centre: [0.0; 2], radius: height as f32, reach: f32::INFINITY };
        let of_skin = stream.chance(1.0 / 3.0);
        let colours = [0; 3].map(|_| match of_skin {
            true => {
                let light = stream.range(90.0, 245.0);
                [light, light * stream.range(0.62, 0.85), light * stream.range(0.5, 0.78)]
            }
            false => [0; 3].map(|_| stream.range(0.0, 255.0)),
        });
        Self { view, seed: stream.next(), colours }
    }

    /// Each pixel, from its place.
    fn pixels(&self, colour: impl Fn(usize, f32, f32) -> Colour) -> Vec<u8> {
        let View { width, height, .. } = self.view;
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let colours = places.map(|(x, y)| colour(y * width + x, self.view.u(x), self.view.v(y)));
        colours.flat_map(|colour| colour.map(|value| value.clamp(0.0, 255.0) as u8)).collect()
    }

    /// The second colour on the first, as far as `share` says at each place.
    fn mixed(&self, share: impl Fn(f32, f32) -> f32) -> Vec<u8> {
        self.pixels(|_, u, v| mix(self.colours[0], self.colours[1], share(u, v)))
    }

    fn gradient(&self, stream: &mut Stream) -> Vec<u8> {
        let (angle, length) = (stream.angle(), stream.range(0.6, 2.0));
        self.mixed(|u, v| 0.5 + ((u - 0.6) * angle.cos() + (v - 0.5) * angle.sin()) / length)
    }

    fn writing(&self, stream: &mut Stream) -> Vec<u8> {
        let line = stream.range(0.04, 0.12);
        let letter = 0.55 * line;
        let (paper, ink) = (mix(self.colours[0], [255.0; 3], 0.7), mix(self.colours[1], [0.0; 3], 0.7));
        // Each cell of 3 × 5 in a letter is marked or not; spaces end words.
        let marked = |u: f32, v: f32| {
            let (row, column) = ((v / line).floor(), (u / letter).floor());
            let (x, y) = ((u / letter - column) * 4.0, (v / line - row) * 8.0);
            if x >= 3.0 || y >= 5.0 {
                return 0.0;
            }
            let mut cell = Stream::new(self.seed, &format!("{row} {column}"));
            let bits = cell.next();
            let is_space = bits.is_multiple_of(6);
            f32::from(u8::from(!is_space && bits >> (8 + x as u64 + 3 * y as u64) & 1 == 1))
        };
        self.pixels(|_, u, v| mix(paper, ink, marked(u, v)))
    }

    fn landscape(&self, stream: &mut Stream) -> Vec<u8> {
        let hills = fractal_stretched(&self.view, [2.0, 0.01], 5, derive(self.seed, "hills"));
        let clouds = fractal_stretched(&self.view, [1.5, 4.0], 4, derive(self.seed, "clouds"));
        let grain = fractal(&self.view, 24.0, 2, derive(self.seed, "grain"));
        let horizon = stream.range(0.35, 0.7);
        self.pixels(|at, _, v| match v < horizon + 0.15 * hills[at] {
            true => mix(self.colours[0], [255.0; 3], (0.4 + 0.5 * clouds[at]).clamp(0.0, 1.0)),
            false => mix(self.colours[1], self.colours[2], 0.5 + 0.5 * grain[at]),
        })
    }

    fn foliage(&self, stream: &mut Stream) -> Vec<u8> {
        let frequency = stream.range(4.0, 14.0);
        let blotches = fractal(&self.view, frequency, 3, derive(self.seed, "blotches"));
        let light = fractal(&self.view, 1.5 * frequency, 3, derive(self.seed, "light"));
        self.pixels(|at, _, _| {
            let step = if blotches[at] > 0.1 { 1.0 } else { 0.0 };
            mix(mix(self.colours[0], self.colours[1], step), self.colours[2], (0.5 + light[at]).clamp(0.0, 1.0))
        })
    }

    fn balls(&self, stream: &mut Stream) -> Vec<u8> {
        let wide = self.view.width as f32 / self.view.radius;
        let balls: Vec<[f32; 3]> = (0..stream.count(3, 12))
            .map(|_| [stream.range(0.0, wide), stream.range(0.0, 1.0), stream.range(0.05, 0.2)])
            .collect();
        self.pixels(|_, u, v| {
            let hit = balls.iter().enumerate().find(|(_, [x, y, radius])| (u - x).hypot(v - y) < *radius);
            let Some((index, [x, y, radius])) = hit else { return self.colours[0] };
            let far = (u - x + 0.4 * radius).hypot(v - y + 0.4 * radius) / radius;
            mix(mix(self.colours[1 + index % 2], [255.0; 3], 0.5), self.colours[1 + index % 2], far.min(1.0))
                .map(|value| value * (1.2 - 0.5 * far))
        })
    }
}

fn mix(one: Colour, other: Colour, share: f32) -> Colour {
    let share = share.clamp(0.0, 1.0);
    [0, 1, 2].map(|at| one[at] + share * (other[at] - one[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_drawn_from_its_seed() {
        for kind in NonLesion::ALL {
            let picture = kind.draw((40, 30), 3);
            assert_eq!(picture, kind.draw((40, 30), 3), "{kind}");
            assert_ne!(picture, kind.draw((40, 30), 4), "{kind}");
        }
        let values = |kind: NonLesion| {
            let picture = kind.draw((64, 48), 5);
            let colours: std::collections::BTreeSet<&[u8]> = picture.data().chunks_exact(3).collect();
            colours.len()
        };
        assert_eq!([values(NonLesion::Plain), values(NonLesion::Checkerboard)], [1, 2]);
        assert!(values(NonLesion::Noise) > 3000);
    }

    #[test]
    fn a_folder_has_a_table_of_its_pairs() {
        let folder = tempfile::tempdir().unwrap();
        write_non_lesions(folder.path(), 10, (32, 24), 1).unwrap();
        let table = std::fs::read_to_string(folder.path().join("cases.csv")).unwrap();
        assert_eq!(table.lines().count(), 11);
        let last = "plain-0009,images/plain-0009-clinical.png,images/plain-0009-dermoscopic.png";
        assert_eq!(table.lines().last(), Some(last));
        assert!(folder.path().join("images/plain-0009-clinical.png").is_file());
    }
}
