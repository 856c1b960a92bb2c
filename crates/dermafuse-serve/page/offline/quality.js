// What is wrong with the pictures before anybody judges them: the measures and findings of the program, from the same whole numbers.
"use strict";

/** The longer side of the copy that is measured, and that of the thumbnails by which pictures are compared. */
const [SIDE, THUMBNAIL] = [128, 16];
/** How much larger red is than the smallest colour in skin, and the least luminance of what can be told to be skin. */
const [REDNESS, SKIN_LUMINANCE] = [8, 30];
/** What a luminance of 1 is in a plane, and what a share of 1/255 is. */
const [LUMINANCE, SHARE] = [256, 65536 / 255];
/** What is added to the mean luminance that a sharpness is relative to. */
const FLOOR = 16;
/** How often luminance and shares are halved, less one. */
const [LUMINANCE_SCALES, SHARE_SCALES] = [5, 3];
/** The middle, two rings around it, and what lies outside of them, the corners. */
const [ZONES, OUTSIDE] = [4, 3];

const square = (value) => value * value;

/** The picture in another size, three bytes a pixel: each is the mean of the area that it covers, rounded. `bytes` are those of a pixel. */
function areaMeans({ width: columns, height: rows, data }, width, height, bytes) {
  const overlaps = (place, from, to) => {
    const [start, end] = [place * from, (place + 1) * from];
    const found = [];
    for (let pixel = Math.floor(start / to); pixel < Math.ceil(end / to); pixel += 1) {
      found.push([pixel, Math.min(end, (pixel + 1) * to) - Math.max(start, pixel * to)]);
    }
    return found;
  };
  const across = Array.from({ length: width }, (_, x) => overlaps(x, columns, width));
  const area = columns * rows;
  const made = new Uint8Array(3 * width * height);
  const sums = new Uint32Array(3 * columns);
  for (let y = 0; y < height; y += 1) {
    sums.fill(0);
    for (const [row, overlap] of overlaps(y, rows, height)) {
      for (let x = 0; x < columns; x += 1) {
        for (let colour = 0; colour < 3; colour += 1) sums[3 * x + colour] += overlap * data[(row * columns + x) * bytes + colour];
      }
    }
    across.forEach((covered, x) => {
      for (let colour = 0; colour < 3; colour += 1) {
        const sum = covered.reduce((before, [column, overlap]) => before + overlap * sums[3 * column + colour], Math.floor(area / 2));
        made[3 * (y * width + x) + colour] = Math.floor(sum / area);
      }
    });
  }
  return { width, height, data: made };
}

/** The picture with a longer side of at most 128 pixels, three bytes a pixel. */
function reduced(picture) {
  const { width, height } = picture;
  const longer = Math.max(width, height);
  if (longer <= SIDE) return areaMeans(picture, width, height, 4);
  const side = (length) => Math.max(1, Math.floor((length * SIDE + Math.floor(longer / 2)) / longer));
  return areaMeans(picture, side(width), side(height), 4);
}

/** The zone of each pixel: rings end at 0.4, 0.75 and 1 of the ellipse that touches the four edges. */
function zonesOf({ width, height }) {
  const edge = square(width * height);
  const ends = [Math.ceil((edge * 4) / 25), Math.ceil((edge * 9) / 16), edge];
  const middle = (place, side) => Math.abs(2 * place + 1 - side);
  const zones = new Uint8Array(width * height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const distance = square(middle(x, width) * height) + square(middle(y, height) * width);
      zones[y * width + x] = ends.filter((end) => distance >= end).length;
    }
  }
  return zones;
}

/** Whole numbers in rows. */
class Plane {
  constructor(width, height, values) {
    [this.width, this.height, this.values] = [width, height, values];
  }

  static of({ width, height, data }, value) {
    return new Plane(width, height, Float64Array.from({ length: width * height }, (_, at) => value(data[3 * at], data[3 * at + 1], data[3 * at + 2])));
  }

  /** Half as wide and high: sums over 2 x 2 values. A side of 1 stays. */
  halved() {
    const [width, height] = [Math.max(1, Math.floor(this.width / 2)), Math.max(1, Math.floor(this.height / 2))];
    const at = (x, y) => this.values[Math.min(y, this.height - 1) * this.width + Math.min(x, this.width - 1)];
    const sum = (x, y) => at(2 * x, 2 * y) + at(2 * x + 1, 2 * y) + at(2 * x, 2 * y + 1) + at(2 * x + 1, 2 * y + 1);
    return new Plane(width, height, Float64Array.from({ length: width * height }, (_, place) => sum(place % width, Math.floor(place / width))));
  }

  /** The sum of the four neighbours less four times the value, of all values that have four neighbours. */
  laplacian() {
    const { width, values } = this;
    const found = [];
    for (let y = 1; y < this.height - 1; y += 1) {
      for (let at = y * width + 1; at < (y + 1) * width - 1; at += 1) {
        found.push(values[at - width] + values[at + width] + values[at - 1] + values[at + 1] - 4 * values[at]);
      }
    }
    return new Plane(Math.max(0, width - 2), Math.max(0, this.height - 2), Float64Array.from(found));
  }

  /** The mean square of the differences to the right and to the lower neighbour together. */
  slope() {
    const { width, height, values } = this;
    let sum = 0;
    for (let y = 0; y < height - 1; y += 1) {
      for (let at = y * width; at < (y + 1) * width - 1; at += 1) sum += square(values[at + 1] - values[at]) + square(values[at + width] - values[at]);
    }
    return sum / Math.max(1, (width - 1) * (height - 1));
  }

  mean() {
    return this.values.reduce((sum, value) => sum + value, 0) / Math.max(1, this.values.length);
  }

  variance() {
    const squares = this.values.reduce((sum, value) => sum + square(value), 0);
    return Math.max(0, squares / Math.max(1, this.values.length) - square(this.mean()));
  }

  /** The median of the absolute values. */
  medianSize() {
    const sizes = this.values.map(Math.abs).sort();
    return sizes[Math.floor(sizes.length / 2)] ?? 0;
  }
}

const luminanceOf = (copy) => Plane.of(copy, (red, green, blue) => 77 * red + 150 * green + 29 * blue);

/** How clearly a copy is of a dermoscopic picture, in logarithmic odds, by the program's rule. */
function scoreOf(copy, luminance, zones, { intercept, weights }) {
  const shares = [0, 2].map((colour) => Plane.of(copy, (...pixel) => Math.floor((pixel[colour] * 65536) / (pixel[0] + pixel[1] + pixel[2] + 3))));
  const features = [];
  for (let zone = 0; zone < ZONES; zone += 1) {
    let [count, sum, squares, red, blue] = [0, 0, 0, 0, 0];
    luminance.values.forEach((light, at) => {
      if (zones[at] !== zone) return;
      count += 1;
      sum += light;
      squares += light * light;
      red += shares[0].values[at];
      blue += shares[1].values[at];
    });
    const all = Math.max(1, count);
    const white = 255 * LUMINANCE;
    features.push(sum / all / white, Math.sqrt(Math.max(0, squares / all - square(sum / all))) / white, red / all / 65536, blue / all / 65536);
  }
  let [plane, unit] = [luminance, LUMINANCE];
  for (let scale = 0; scale < LUMINANCE_SCALES; scale += 1) {
    features.push(Math.log(1 + plane.laplacian().medianSize() / unit), Math.log(1 + plane.slope() / square(unit)));
    [plane, unit] = [plane.halved(), 4 * unit];
  }
  for (const share of shares) {
    [plane, unit] = [share, SHARE];
    for (let scale = 0; scale < SHARE_SCALES; scale += 1) {
      features.push(Math.log(0.1 + plane.laplacian().variance() / square(unit)));
      [plane, unit] = [plane.halved(), 4 * unit];
    }
  }
  return features.reduce((score, feature, at) => score + weights[at] * feature, intercept);
}

/** How often each byte was there. */
class Histogram {
  counts = new Uint32Array(256);
  count = 0;

  add(value) {
    this.counts[value] += 1;
    this.count += 1;
  }

  /** The smallest value that so many per cent of the values do not exceed. */
  percentile(percent) {
    const wanted = Math.max(1, Math.ceil((this.count * percent) / 100));
    let seen = 0;
    return Math.max(0, this.counts.findIndex((count) => (seen += count) >= wanted));
  }
}

/** What is measured of decoded pixels, four bytes each. `rule` tells the two kinds of pictures apart. */
export function measured(picture, rule) {
  const copy = reduced(picture);
  const [luminance, zones] = [luminanceOf(copy), zonesOf(copy)];
  const [luminances, colours] = [new Histogram(), [new Histogram(), new Histogram(), new Histogram()]];
  let skin = 0;
  luminance.values.forEach((value, at) => {
    const [red, green, blue] = copy.data.subarray(3 * at, 3 * at + 3);
    [red, green, blue].forEach((colour, which) => colours[which].add(colour));
    if (zones[at] >= OUTSIDE) return;
    const light = Math.floor(value / LUMINANCE);
    luminances.add(light);
    if (red >= Math.max(green, blue) && red - Math.min(green, blue) > REDNESS && light > SKIN_LUMINANCE) skin += 1;
  });
  return {
    shorterSide: Math.min(picture.width, picture.height),
    brightness: luminances.percentile(50),
    darkest: luminances.percentile(1),
    brightest: luminances.percentile(99),
    range: Math.max(...colours.map((colour) => colour.percentile(99) - colour.percentile(1))),
    skin: skin / Math.max(1, luminances.count),
    sharpness: (1e4 * luminance.laplacian().variance()) / square(luminance.mean() + FLOOR * LUMINANCE),
    dermoscopic: scoreOf(copy, luminance, zones, rule),
    thumbnail: areaMeans(copy, THUMBNAIL, THUMBNAIL, 3).data,
  };
}

/** The findings of a picture for itself. One that shows nothing has no other but its size. */
function ofPicture(image, least) {
  const found = image.shorterSide < least.shorter_side ? ["too_small"] : [];
  if (image.brightest <= least.black) return [...found, "black"];
  if (image.darkest >= least.white) return [...found, "white"];
  if (image.range <= least.range) return [...found, "one_colour"];
  if (image.brightness < least.dark) found.push("too_dark");
  if (image.brightness > least.bright) found.push("too_bright");
  if (image.sharpness < least.sharpness) found.push("blurred");
  if (image.skin < least.skin) found.push("no_skin");
  return found;
}

/**
 * What is wrong with the pictures of a case, as `{ kind, image }`. `measures` are those of each kind of picture that is there, `least` the
 * thresholds of the model.
 */
export function findings(measures, least) {
  const found = Object.entries(measures).flatMap(([image, of]) => ofPicture(of, least).map((kind) => ({ kind, image })));
  const empty = ["black", "white", "one_colour", "no_skin"];
  const shown = (image) => (measures[image] && !ofPicture(measures[image], least).some((kind) => empty.includes(kind)) ? measures[image] : null);
  const [clinical, dermoscopic] = [shown("clinical"), shown("dermoscopic")];
  if (clinical && dermoscopic) {
    const differences = clinical.thumbnail.reduce((sum, value, at) => sum + Math.abs(value - dermoscopic.thumbnail[at]), 0);
    if (differences / clinical.thumbnail.length <= least.same) return [...found, { kind: "same_picture" }];
    if (clinical.dermoscopic - dermoscopic.dermoscopic > least.exchanged) found.push({ kind: "exchanged" });
  } else if (clinical && clinical.dermoscopic > least.other_kind) found.push({ kind: "other_kind", image: "clinical" });
  else if (dermoscopic && -dermoscopic.dermoscopic > least.other_kind) found.push({ kind: "other_kind", image: "dermoscopic" });
  return found;
}
