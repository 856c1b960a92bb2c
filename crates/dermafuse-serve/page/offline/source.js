// Where the page's answers come from: the model's file, computed in this browser. Nothing leaves it.
"use strict";

import * as ort from "./ort.wasm.min.mjs";
import { described, encoded, metadataOf } from "./model_file.js";
import { looked } from "./pixels.js";
import { findings } from "./quality.js";

/** As many threads as help; only a page of its own (see service.js) may have several. */
const THREADS = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;

let model = null;
let session = null;
/** What tells clinical from dermoscopic pictures. */
let rule = null;

/** Something that the model cannot answer from. */
class NotEnough extends Error {
  code = "not_enough";
}

async function fetched(name) {
  const response = await fetch(name, { credentials: "same-origin" });
  if (!response.ok) throw new Error(`${name}: HTTP ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** The bytes as hexadecimal. */
const hexadecimal = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Lets the browser draw what was said, before it is busy. */
const drawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));

/** Keeps the page's files in the browser; whether it does. */
async function kept() {
  if (!navigator.serviceWorker) return false;
  try {
    await navigator.serviceWorker.register("service.js");
    await navigator.serviceWorker.ready;
    return true;
  } catch {
    return false;
  }
}

export const source = {
  words: "offline",

  async model(say) {
    say("loading");
    const bytes = await fetched("model.onnx");
    model = described(metadataOf(bytes));
    rule = JSON.parse(new TextDecoder().decode(await fetched("view_rule.json")));
    ort.env.wasm.numThreads = THREADS;
    ort.env.wasm.wasmPaths = new URL("./", location.href).href;
    session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    return model;
  },

  kept,

  async predict({ images, fields }) {
    const missing = model.images.filter((image) => !images[image]);
    if (missing.length) throw new NotEnough(`This page answers for cases with every image that the model looks at: ${missing.join(", ")} is missing.`);
    const record = encoded(model, fields);
    const feeds = {};
    const measures = {};
    for (const image of model.images) {
      const { size } = model.preprocess;
      const seen = await looked(image, images[image], model.preprocess, rule);
      feeds[image] = new ort.Tensor("uint8", seen.pixels, [1, size, size, 3]);
      measures[image] = seen.measures;
    }
    if (session.inputNames.includes("record")) feeds.record = new ort.Tensor("float32", record.columns, [1, record.columns.length]);
    await drawn();
    const outputs = await session.run(feeds);
    const tasks = model.tasks.map(({ name, label, classes }) => {
      const probabilities = outputs[name].data;
      const ranked = classes.map((each, at) => ({ name: each, probability: probabilities[at] }));
      return { name, label, classes: ranked.sort((one, other) => other.probability - one.probability) };
    });
    const notes = [...record.notes];
    if (model.synthetic) notes.push({ kind: "synthetic_training" });
    notes.push(...model.notes.map((message) => ({ kind: "of_model", message })));
    return {
      id: hexadecimal(crypto.getRandomValues(new Uint8Array(8))),
      model: model.id,
      tasks,
      groups: [],
      evidence: [],
      basis: { images: model.images, fields: record.known },
      notes,
      findings: findings(measures, model.quality),
      stored: false,
    };
  },
};
