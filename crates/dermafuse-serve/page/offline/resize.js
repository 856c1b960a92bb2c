// Reduces pixels to the square that the model looks at, by the same whole numbers as the program does: the same bytes come out.
"use strict";

/** What is used of each pixel, and how many bytes it has: red, green, blue, alpha. */
const [USED, BYTES] = [3, 4];
/** Weights are whole numbers of 16 bits with a sign. */
const MOST_WEIGHT = 1 << 15;

const triangle = (x) => Math.max(0, 1 - Math.abs(x));
/** Catmull and Rom's cubic, a = −0.5. */
function cubic(x) {
  const far = Math.abs(x);
  if (far < 1) return (1.5 * far - 2.5) * far * far + 1;
  return far < 2 ? (((far - 5) * far + 8) * far - 4) * -0.5 : 0;
}
/** How far a filter reaches when nothing is reduced, and its shape. */
const FILTERS = { pillow: [1, triangle], pillow_bicubic: [2, cubic] };

/** Half a unit goes away from zero. */
const rounded = (value) => Math.sign(value) * Math.floor(Math.abs(value) + 0.5);

/** For each output position the first source position and the weights from there on, and how many bits a weight of one has. */
function weights(from, to, [support, filter]) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const radius = support * stretch;
  let most = 0;
  const positions = Array.from({ length: to }, (_, at) => {
    const centre = (at + 0.5) * scale;
    let first = Math.max(Math.floor(centre - radius), 0);
    const end = Math.min(Math.ceil(centre + radius), from);
    const found = [];
    for (let x = first; x < end; x += 1) {
      const weight = filter((x - (centre - 0.5)) * (1 / stretch));
      if (found.length === 0 && weight === 0) first += 1;
      else found.push(weight);
    }
    while (found.at(-1) === 0) found.pop();
    const sum = found.reduce((before, weight) => before + weight, 0);
    const shares = found.map((weight) => weight / sum);
    most = Math.max(most, ...shares);
    return { first, shares };
  });
  let bits = 0;
  while (bits < 21 && rounded(most * 2 ** (bits + 1)) < MOST_WEIGHT) bits += 1;
  return { bits, positions: positions.map(({ first, shares }) => ({ first, shares: Int32Array.from(shares, (share) => rounded(share * 2 ** bits)) })) };
}

/** Rows first, then columns; each sum is rounded to a byte. */
function convolve(pixels, width, height, across, down, filter) {
  let [source, bytes] = [pixels, BYTES];
  if (height !== down) {
    const { bits, positions } = weights(height, down, filter);
    const reduced = new Uint8ClampedArray(down * width * USED);
    const sums = new Int32Array(width * USED);
    positions.forEach(({ first, shares }, row) => {
      sums.fill(1 << (bits - 1));
      shares.forEach((share, at) => {
        let from = (first + at) * width * bytes;
        for (let to = 0; to < sums.length; from += bytes, to += USED) {
          sums[to] += share * source[from];
          sums[to + 1] += share * source[from + 1];
          sums[to + 2] += share * source[from + 2];
        }
      });
      for (let to = 0; to < sums.length; to += 1) reduced[row * sums.length + to] = sums[to] >> bits;
    });
    [source, bytes] = [reduced, USED];
  }
  const output = new Uint8ClampedArray(down * across * USED);
  // A weight of one, where the width stays.
  const { bits, positions } = width === across ? { bits: 1, positions: Array.from({ length: across }, (_, first) => ({ first, shares: [2] })) } : weights(width, across, filter);
  for (let row = 0; row < down; row += 1) {
    positions.forEach(({ first, shares }, column) => {
      for (let colour = 0; colour < USED; colour += 1) {
        let sum = 1 << (bits - 1);
        let from = (row * width + first) * bytes + colour;
        for (let at = 0; at < shares.length; at += 1, from += bytes) sum += shares[at] * source[from];
        output[(row * across + column) * USED + colour] = sum >> bits;
      }
    });
  }
  return output;
}

/** OpenCV's bilinear: each output pixel from the four about its centre; 8 bits of a weight down, 11 to the right. */
function fourNeighbours(pixels, width, height, across, down) {
  const taps = (from, to, bits) =>
    Array.from({ length: to }, (_, at) => {
      const centre = Math.fround(Math.min(Math.max((at + 0.5) * (from / to) - 0.5, 0), from - 1));
      const before = Math.min(Math.floor(centre), from - 1);
      const weight = rounded(Math.fround(Math.fround(centre - before) * (1 << bits)));
      return [before, Math.min(before + 1, from - 1), weight];
    });
  const columns = taps(width, across, 11);
  const output = new Uint8ClampedArray(down * across * USED);
  taps(height, down, 8).forEach(([above, below, share], row) => {
    columns.forEach(([left, right, weight], column) => {
      for (let colour = 0; colour < USED; colour += 1) {
        const blend = (x) => pixels[(above * width + x) * BYTES + colour] * (256 - share) + pixels[(below * width + x) * BYTES + colour] * share;
        output[(row * across + column) * USED + colour] = (blend(left) * (2048 - weight) + blend(right) * weight + (1 << 18)) >> 19;
      }
    });
  });
  return output;
}

/** Each output pixel is the one that its centre lies on. */
function nearest(pixels, width, height, across, down) {
  const source = (at, from, to) => Math.floor(((2 * at + 1) * from) / (2 * to));
  const output = new Uint8ClampedArray(down * across * USED);
  for (let row = 0; row < down; row += 1) {
    for (let column = 0; column < across; column += 1) {
      const from = (source(row, height, down) * width + source(column, width, across)) * BYTES;
      output.set(pixels.subarray(from, from + USED), (row * across + column) * USED);
    }
  }
  return output;
}

/** `[down, across, 3]` bytes from `[height, width, 4]`; `resampling` is the model's word for how. */
function reduced(pixels, width, height, across, down, resampling) {
  // Of the size that is asked for, it stays as it is: every rule below gives the same bytes then.
  if (resampling === "open_cv") return fourNeighbours(pixels, width, height, across, down);
  if (resampling === "nearest") return nearest(pixels, width, height, across, down);
  const filter = FILTERS[resampling];
  if (!filter) throw new Error(`the page does not know the resampling \`${resampling}\``);
  return convolve(pixels, width, height, across, down, filter);
}

/** The middle `[side, side, 4]` bytes. */
function middle(pixels, width, height, side) {
  const [left, top] = [(width - side) >> 1, (height - side) >> 1];
  const cut = new Uint8ClampedArray(side * side * BYTES);
  for (let row = 0; row < side; row += 1) {
    const from = ((top + row) * width + left) * BYTES;
    cut.set(pixels.subarray(from, from + side * BYTES), row * side * BYTES);
  }
  return cut;
}

/** `[size, size, 3]` bytes, black about the `[down, across, 3]` that are given. */
function padded(pixels, across, down, size) {
  const [left, top] = [(size - across) >> 1, (size - down) >> 1];
  const square = new Uint8ClampedArray(size * size * USED);
  for (let row = 0; row < down; row += 1) {
    square.set(pixels.subarray(row * across * USED, (row + 1) * across * USED), ((top + row) * size + left) * USED);
  }
  return square;
}

/** `[size, size, 3]` bytes from `[height, width, 4]`, as the model's `preprocess` says: its size, how it is resampled, and how a photo becomes a square. */
export function resize(pixels, width, height, { size, resampling, framing = "squash" }) {
  if (framing === "squash" || width === height) return reduced(pixels, width, height, size, size, resampling);
  if (framing === "crop") {
    const side = Math.min(width, height);
    return reduced(middle(pixels, width, height, side), side, side, size, size, resampling);
  }
  if (framing !== "pad") throw new Error(`the page does not know the framing \`${framing}\``);
  const longest = Math.max(width, height);
  const [across, down] = [width, height].map((side) => Math.max(Math.floor((2 * side * size + longest) / (2 * longest)), 1));
  return padded(reduced(pixels, width, height, across, down, resampling), across, down, size);
}
