// From a file to the pixels that the model looks at. The browser decodes it; everything after that is done as the program does it.
"use strict";

import { measured } from "./quality.js";
import { resize } from "./resize.js";

/** The longest side and the most pixels of an image that is decoded, as in the program. */
const [MOST_SIDE, MOST_PIXELS] = [16384, 64 * 1024 * 1024];

const latin = (bytes, from, to) => String.fromCharCode(...bytes.subarray(from, to));
const number = (bytes, at) => new DataView(bytes.buffer).getUint32(at, true);
/** Whether a word of a file is found in it, from some place on. */
const has = (bytes, word, from) => {
  for (let at = from; at <= bytes.length - word.length; at += 1) if (word.every((byte, place) => bytes[at + place] === byte)) return true;
  return false;
};
/** Where the picture of a JPEG begins, after the headers, which may hold a small JPEG of their own. */
function scan(bytes) {
  let at = 2;
  while (at < bytes.length && bytes[at + 1] !== 0xda) at += 2 + 256 * bytes[at + 2] + bytes[at + 3];
  return at;
}

/** The formats that both the program and browsers read: what a file begins with, and whether it is whole. */
const FORMATS = [
  { name: "JPEG", is: (bytes) => bytes[0] === 0xff && bytes[1] === 0xd8, isWhole: (bytes) => has(bytes, [0xff, 0xd9], scan(bytes)) },
  { name: "PNG", is: (bytes) => latin(bytes, 1, 4) === "PNG", isWhole: (bytes) => has(bytes, [0x49, 0x45, 0x4e, 0x44], 8) },
  { name: "WebP", is: (bytes) => latin(bytes, 0, 4) === "RIFF" && latin(bytes, 8, 12) === "WEBP", isWhole: (bytes) => bytes.length >= number(bytes, 4) + 8 },
  { name: "BMP", is: (bytes) => latin(bytes, 0, 2) === "BM" && bytes.length >= 26, isWhole: (bytes) => bytes.length >= number(bytes, 2) },
];

/** An image that is not taken, and which. */
export class Unreadable extends Error {
  constructor(image, message) {
    super(`${image} image: ${message}`);
    this.code = "image";
    this.field = image;
  }
}

/** Upright pixels of a file: `{ width, height, data }`, four bytes each. Colours stay as they are in the file, whatever profile it names. */
async function decoded(image, file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const format = FORMATS.find(({ is }) => is(bytes));
  if (!format) throw new Unreadable(image, "it is no JPEG, PNG, WebP or BMP; save it as one of them");
  // A browser shows what there is of a damaged file; the program refuses it.
  if (!format.isWhole(bytes)) throw new Unreadable(image, `the ${format.name} file is not whole; copy it again, or choose another file`);
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" });
  } catch (error) {
    throw new Unreadable(image, `the browser cannot decode the ${format.name} file (${error.message})`);
  }
  const { width, height } = bitmap;
  if (Math.max(width, height) > MOST_SIDE || width * height > MOST_PIXELS) {
    throw new Unreadable(image, `${width} x ${height} pixels are too many; at most ${MOST_SIDE} a side and ${MOST_PIXELS} in all are taken`);
  }
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  // Gives the memory back.
  [canvas.width, canvas.height] = [0, 0];
  for (let at = 3; at < data.length; at += 4) {
    // A canvas blends what the program takes as it is.
    if (data[at] !== 255) throw new Unreadable(image, "parts of it are transparent; save it without transparency");
  }
  return { width, height, data };
}

/**
 * An image file as the model's file takes it, `[size, size, 3]` bytes of red, green and blue, and what is measured of it before it is
 * reduced. `rule` tells the kinds of pictures apart.
 */
export async function looked(image, file, preprocess, rule) {
  const picture = await decoded(image, file);
  const pixels = resize(picture.data, picture.width, picture.height, preprocess);
  return { pixels: new Uint8Array(pixels.buffer), measures: measured(picture, rule) };
}
