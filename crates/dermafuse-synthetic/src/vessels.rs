//! The seventh criterion: vessels, each shape of the published table drawn its own way.

use crate::body::Layers;
use crate::canvas::{Knot, disc, ramp, soft_stroke};
use crate::noise::Stream;
use crate::shape::Shape;
use crate::structures::regression_blobs;
use crate::view::View;
use crate::{Lesion, Vessels};

/// Draws the vessels above all pigment; where they run, they push it aside.
pub(crate) fn draw(lesion: &Lesion, shape: &Shape, view: &View, clarity: f32, layers: &mut Layers) {
    let mut pen = Pen {
        shape,
        view,
        stream: Stream::new(lesion.seed, "vessels"),
        blood: vec![0.0; view.len()],
        halo: vec![0.0; view.len()],
    };
    match lesion.vessels {
        Vessels::Absent => return,
        Vessels::Arborizing => pen.trees(),
        Vessels::Comma => pen.commas(),
        Vessels::Hairpin => pen.loops(),
        Vessels::WithinRegression => pen.within(&regression_blobs(lesion.seed)),
        Vessels::Wreath => pen.wreath(),
        Vessels::Dotted => pen.points(),
        Vessels::LinearIrregular => pen.winding(),
    }
    let vessels = layers.settle(view, &pen.blood, 0.035);
    for (i, (vessel, halo)) in vessels.iter().zip(&pen.halo).enumerate() {
        let (vessel, halo) = (vessel * clarity, halo * clarity);
        layers.melanin[i] *= 1.0 - (0.8 * vessel).max(0.55 * halo).min(1.0);
        layers.blue[i] *= 1.0 - (0.8 * vessel).min(1.0);
        layers.white[i] = (layers.white[i] * (1.0 - vessel.min(1.0))).max(0.25 * halo * (1.0 - vessel.min(1.0)));
        layers.blood[i] += 2.0 * vessel;
    }
}

struct Pen<'a> {
    shape: &'a Shape,
    view: &'a View,
    stream: Stream,
    blood: Vec<f32>,
    halo: Vec<f32>,
}

impl Pen<'_> {
    /// A point inside the lesion, at most that part of the way to the border.
    fn anywhere(&mut self, part: f32) -> [f32; 2] {
        let angle = self.stream.angle();
        let far = self.stream.unit().sqrt() * part * self.shape.radius(angle);
        [far * angle.cos(), far * angle.sin()]
    }

    /// A walk of that many steps whose heading drifts and jitters; returns where and whither it ended.
    fn walk(&mut self, start: Knot, heading: f32, steps: usize, step: f32, drift: f32, jitter: f32) -> (Knot, f32) {
        let (mut at, mut heading) = (start, heading);
        let mut knots = vec![start];
        for index in 0..steps {
            heading += drift + jitter * self.stream.normal();
            let width = start[2] * (1.0 - 0.45 * (index + 1) as f32 / steps as f32);
            at = [at[0] + step * heading.cos(), at[1] + step * heading.sin(), width];
            knots.push(at);
        }
        soft_stroke(&mut self.blood, self.view, &knots, 0.02, 1.0);
        (at, heading)
    }

    fn trees(&mut self) {
        let first = self.stream.angle();
        for trunk in 0..self.stream.count(3, 4) {
            let angle = first + trunk as f32 * self.stream.range(1.2, 1.9);
            let border = 0.95 * self.shape.radius(angle);
            let start = [border * angle.cos(), border * angle.sin(), 0.036];
            let inwards = angle + std::f32::consts::PI + self.stream.range(-0.4, 0.4);
            self.branch(start, inwards, 0);
        }
    }

    fn branch(&mut self, start: Knot, heading: f32, level: u32) {
        let step = [0.11, 0.085, 0.07, 0.05][level as usize];
        let (end, heading) = self.walk(start, heading, 4, step, 0.0, 0.22);
        if level < 3 {
            for side in [-1.0, 1.0] {
                let turned = heading + side * self.stream.range(0.4, 0.8);
                self.branch([end[0], end[1], end[2].max(0.014)], turned, level + 1);
            }
        }
    }

    fn commas(&mut self) {
        for _ in 0..self.stream.count(11, 16) {
            let [u, v] = self.anywhere(0.8);
            let heading = self.stream.angle();
            let bend = if self.stream.chance(0.5) { 0.42 } else { -0.42 };
            self.walk([u, v, 0.042], heading, 5, 0.055, bend, 0.05);
        }
    }

    fn loops(&mut self) {
        for _ in 0..self.stream.count(10, 14) {
            let [u, v] = self.anywhere(0.85);
            let heading = self.stream.angle();
            disc(&mut self.halo, self.view, [u, v], 0.13, 0.06, 1.0);
            let (along, across) = ([heading.cos(), heading.sin()], [-heading.sin(), heading.cos()]);
            let knot = |forward: f32, side: f32| {
                [u + forward * along[0] + side * across[0], v + forward * along[1] + side * across[1], 0.022]
            };
            let knots: Vec<Knot> = (0..=14)
                .map(|step| {
                    let angle = (step as f32 - 7.0) * 0.36;
                    knot(0.13 * angle.cos(), 0.052 * angle.sin() * (1.0 + 0.25 * angle.cos()))
                })
                .collect();
            soft_stroke(&mut self.blood, self.view, &knots, 0.02, 1.0);
        }
    }

    fn within(&mut self, blobs: &[Knot]) {
        for blob in blobs {
            disc(&mut self.halo, self.view, [blob[0], blob[1]], 0.8 * blob[2], 0.5 * blob[2], 1.0);
            for _ in 0..(26.0 * blob[2]) as usize {
                let (far, angle) = (blob[2] * 0.8 * self.stream.unit().sqrt(), self.stream.angle());
                let start = [blob[0] + far * angle.cos(), blob[1] + far * angle.sin(), 0.024];
                let heading = self.stream.angle();
                self.walk(start, heading, 5, 0.05, 0.0, 0.35);
            }
        }
    }

    fn wreath(&mut self) {
        let count = self.stream.count(13, 17);
        for index in 0..count {
            let angle = (index as f32 + self.stream.range(-0.2, 0.2)) * std::f32::consts::TAU / count as f32;
            let border = self.shape.radius(angle);
            let heading = angle + std::f32::consts::PI - 0.5;
            self.walk([border * angle.cos(), border * angle.sin(), 0.036], heading, 6, 0.06, 0.18, 0.05);
        }
    }

    fn points(&mut self) {
        for _ in 0..self.stream.count(40, 60) {
            let at = self.anywhere(0.9);
            let size = self.stream.range(0.028, 0.042);
            disc(&mut self.blood, self.view, at, size, 0.02, 1.0);
        }
        let pale: Vec<f32> = self.blood.iter().map(|&blood| ramp(0.0, 1.0, blood)).collect();
        self.halo.iter_mut().zip(pale).for_each(|(halo, pale)| *halo = halo.max(0.3 * pale));
    }

    fn winding(&mut self) {
        for _ in 0..self.stream.count(8, 12) {
            let [u, v] = self.anywhere(0.75);
            let width = self.stream.range(0.022, 0.045);
            let (heading, steps) = (self.stream.angle(), self.stream.count(5, 12));
            self.walk([u, v, width], heading, steps, 0.065, 0.0, 0.6);
        }
    }
}
