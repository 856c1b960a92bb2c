// Where the page's answers come from: the model's file, computed in this browser. Nothing leaves it.
"use strict";

import * as ort from "./ort.wasm.min.mjs";
import { answerOf } from "./answer.js";
import { described, encoded, metadataOf } from "./model_file.js";
import { looked } from "./pixels.js";
import { findings } from "./quality.js";

/** As many threads as help; only a page of its own (see service.js) may have several. */
const THREADS = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;

let model = null;
let session = null;
/** Rules of the program that no model has of its own, and the sum of the model's file. */
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

/** Refuses a file that is not the one that was exported. Browsers can tell where a page comes by https or from the device itself. */
async function checked(name, bytes, sum) {
  if (!crypto.subtle) return;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== sum) throw new Error(`${name} is not the file of this export, or not whole; copy the folder again, or export it anew`);
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
    rules = JSON.parse(new TextDecoder().decode(await fetched("rules.json")));
    await checked("model.onnx", bytes, rules.model_sha256);
    model = described(metadataOf(bytes));
    ort.env.wasm.numThreads = THREADS;
    ort.env.wasm.wasmPaths = new URL("./", location.href).href;
    session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    return model;
  },

  kept,

  async predict({ images, fields }) {
    const [given, missing] = [true, false].map((is) => model.images.filter((image) => Boolean(images[image]) === is));
    const record = encoded(model, fields);
    const asksRecord = session.inputNames.includes("record");
    const recorded = asksRecord && record.known.length > 0;
    // Cases that lack something have outputs of their own, where the model answers them.
    const isWhole = !missing.length && recorded === asksRecord;
    const fits = (answer) => answer.record === recorded && answer.images.join() === given.join();
    const partial = isWhole ? null : model.partial.find(fits);
    const answer = isWhole ? model.complete : partial;
    if (!answer) {
      if (!missing.length) throw new NotEnough("This page needs something of the patient that the model knows.");
      throw new NotEnough(`No part of the model answers without what is missing; not given: ${missing.join(", ")}.`);
    }
    const feeds = {};
    const measures = {};
    for (const image of model.images) {
      const { size } = model.preprocess;
      const isGiven = `${image}_given`;
      if (session.inputNames.includes(isGiven)) feeds[isGiven] = new ort.Tensor("bool", [Boolean(images[image])], [1]);
      if (!images[image]) {
        feeds[image] = new ort.Tensor("uint8", new Uint8Array(size * size * 3), [1, size, size, 3]);
        continue;
      }
      const seen = await looked(image, images[image], model.preprocess, rules.view);
      feeds[image] = new ort.Tensor("uint8", seen.pixels, [1, size, size, 3]);
      measures[image] = seen.measures;
    }
    if (asksRecord) feeds.record = new ort.Tensor("float32", record.columns, [1, record.columns.length]);
    await drawn();
    const outputOf = ({ name }) => (partial ? `${partial.outputs}/${name}` : name);
    const outputs = await session.run(feeds, model.tasks.map(outputOf));
    const numbers = Object.fromEntries(model.tasks.map((task) => [task.name, outputs[outputOf(task)].data]));
    const ofModel = [...model.notes, ...answer.notes].map((message) => ({ kind: "of_model", message }));
    const notes = [
      ...missing.map((image) => ({ kind: "image_missing", image })),
      // This page has no place for a lesion box.
      ...("box_margin" in model.preprocess ? given.map((image) => ({ kind: "taken_whole", image })) : []),
      ...record.notes,
      ...(partial?.first_stage ? [{ kind: "first_stage_answers" }] : []),
      ...(model.synthetic ? [{ kind: "synthetic_training" }] : []),
      ...ofModel,
    ];
    const basis = { images: answer.sees, fields: answer.sees_record ? record.known : [] };
    return answerOf(model, rules, { numbers, record, basis, notes, findings: findings(measures, model.quality) });
  },
};
