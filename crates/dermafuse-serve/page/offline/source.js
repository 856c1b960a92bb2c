// Where the page's answers come from: the model's file, computed in this browser. Nothing leaves it.
"use strict";

import * as ort from "./ort.wasm.min.mjs";
import { answerOf } from "./answer.js";
import { described, encoded, metadataOf } from "./model_file.js";
import { looked } from "./pixels.js";
import { findings } from "./quality.js";

/** As many threads as help; only a page of its own (see service.js) may have several. */
const THREADS = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;

/** The rows of a model whose second stage looks at the record: from the images alone, and from both. */
const [FIRST, LAST] = ["P_1", "P_3"];

let model = null;
let session = null;
/** Rules of the program that no model has of its own. */
let rules = null;

/** Something that the model cannot answer from. */
class NotEnough extends Error {
  code = "not_enough";
}

async function fetched(name) {
  const response = await fetch(name, { credentials: "same-origin" });
  if (!response.ok) throw new Error(`${name}: HTTP ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Lets the browser draw what was said, before it is busy. */
const drawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));

/** Keeps the page's files in the browser; whether it does. */
async function kept() {
  if (!navigator.serviceWorker) return false;
  try {
    const { installing, active } = await navigator.serviceWorker.register("service.js");
    if (active) return true;
    return await new Promise((done) => {
      installing.addEventListener("statechange", () => {
        if (installing.state === "activated") done(true);
        if (installing.state === "redundant") done(false);
      });
    });
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
    rules = JSON.parse(new TextDecoder().decode(await fetched("rules.json")));
    ort.env.wasm.numThreads = THREADS;
    ort.env.wasm.wasmPaths = new URL("./", location.href).href;
    session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    return model;
  },

  kept,

  async predict({ images, fields }) {
    const missing = model.images.filter((image) => !images[image]);
    if (missing.length) throw new NotEnough(`This page answers for cases with every image that the model looks at; not given: ${missing.join(", ")}.`);
    const record = encoded(model, fields);
    const asksRecord = session.inputNames.includes("record");
    // The row of the images alone, where the file has it as the program's answer.
    const imagesAnswer = asksRecord && record.known.length === 0;
    if (imagesAnswer && (model.looks_at_record || model.stage !== LAST)) {
      throw new NotEnough("This page needs something of the patient that the model knows.");
    }
    const feeds = {};
    const measures = {};
    for (const image of model.images) {
      const { size } = model.preprocess;
      const seen = await looked(image, images[image], model.preprocess, rules.view);
      feeds[image] = new ort.Tensor("uint8", seen.pixels, [1, size, size, 3]);
      measures[image] = seen.measures;
    }
    if (asksRecord) feeds.record = new ort.Tensor("float32", record.columns, [1, record.columns.length]);
    await drawn();
    const outputs = await session.run(feeds);
    const row = imagesAnswer ? `${FIRST}/` : "";
    const numbers = Object.fromEntries(model.tasks.map(({ name }) => [name, outputs[`${row}${name}`].data]));
    const ofModel = model.notes.map((message) => ({ kind: "of_model", message }));
    const notes = [
      ...record.notes,
      ...(imagesAnswer ? [{ kind: "first_stage_answers" }] : []),
      ...(model.synthetic ? [{ kind: "synthetic_training" }] : []),
      ...ofModel,
    ];
    return answerOf(model, rules, { numbers, record, notes, findings: findings(measures, model.quality) });
  },
};
