//! Which part of the skin a picture shows.

use std::ops::Range;

/// Where the picture's units are: pixel size, the pixel of the origin, and the pixels of one unit (the mean lesion
/// radius).
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) centre: [f32; 2],
    pub(crate) radius: f32,
    /// Nothing is drawn farther than this from the origin, across or down, in units.
    pub(crate) reach: f32,
}

impl View {
    pub(crate) fn len(&self) -> usize {
        self.width * self.height
    }

    pub(crate) fn u(&self, x: usize) -> f32 {
        (x as f32 + 0.5 - self.centre[0]) / self.radius
    }

    pub(crate) fn v(&self, y: usize) -> f32 {
        (y as f32 + 0.5 - self.centre[1]) / self.radius
    }

    /// The same picture measured in picture heights from its centre, for what does not belong to the lesion.
    pub(crate) fn frame(&self) -> Self {
        let centre = [self.width as f32 / 2.0, self.height as f32 / 2.0];
        Self { centre, radius: self.height as f32, reach: f32::INFINITY, ..self.clone() }
    }

    /// The pixels across that are within reach.
    pub(crate) fn columns(&self) -> Range<usize> {
        self.within(self.centre[0], self.width)
    }

    /// The pixels down that are within reach.
    pub(crate) fn rows(&self) -> Range<usize> {
        self.within(self.centre[1], self.height)
    }

    fn within(&self, centre: f32, limit: usize) -> Range<usize> {
        let reach = self.reach * self.radius;
        let edge = |place: f32| place.clamp(0.0, limit as f32) as usize;
        edge((centre - reach).floor())..edge((centre + reach).ceil())
    }

    pub(crate) fn pixel(&self, point: [f32; 2]) -> [f32; 2] {
        [point[0] * self.radius + self.centre[0], point[1] * self.radius + self.centre[1]]
    }
}
