// What a model's file says of itself. It is an ONNX file, and its metadata say everything that a page needs.
"use strict";

/** The places of what is read in a message of the format: `ModelProto.metadata_props`, and key and value of each. */
const [METADATA, KEY, VALUE] = [14, 1, 2];

/** The fields of a message of the protocol buffers' format that have bytes, one after the other: their number and their bytes. */
function* fieldsOf(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let weight = 1; ; weight *= 128) {
      const byte = bytes[at++];
      if (byte === undefined || weight > 2 ** 63) throw new Error("the model's file is damaged");
      value += (byte % 128) * weight;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag % 8;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      if (at + length > bytes.length) throw new Error("the model's file is damaged");
      yield [Math.floor(tag / 8), bytes.subarray(at, at + length)];
      at += length;
    } else throw new Error("the model's file is damaged");
  }
}

/** All metadata of an ONNX file, by their keys. */
export function metadataOf(bytes) {
  const words = new TextDecoder();
  const metadata = {};
  for (const [number, entry] of fieldsOf(bytes)) {
    if (number !== METADATA) continue;
    const pair = Object.fromEntries(fieldsOf(entry));
    metadata[words.decode(pair[KEY])] = words.decode(pair[VALUE]);
  }
  return metadata;
}

/** A field as the form takes it. */
function fieldOf({ name, kind, unit, role, training, never_seen }) {
  return {
    name,
    kind: kind.categorical ? "category" : "number",
    categories: kind.categorical?.categories,
    unit: unit ?? undefined,
    range: training ? [training.lowest, training.highest] : undefined,
    known_before_diagnosis: role === "pre_diagnosis",
    never_seen,
  };
}

/** What the makers of a model say of it, a line each. */
function linesOf(card) {
  const { data_set, training_cases, selection_cases, test_cases, epochs } = card?.training ?? {};
  const cases = `${training_cases} training, ${selection_cases} selection and ${test_cases} test cases`;
  return [
    ...(card?.experiment ? [`experiment: ${card.experiment}`] : []),
    ...(card?.training ? [`training: ${data_set}, ${cases}, ${epochs} epochs`] : []),
    ...Object.entries(card?.texts ?? {}).map(([name, words]) => `${name.replaceAll("_", " ")}: ${words}`),
  ];
}

/**
 * What the form and the answer need of a model, as a server says it, and what its file takes and gives: `preprocess`, the columns of `record`,
 * what answers to `complete` cases stand on, and the same of each kind of `partial` ones with their outputs.
 */
export function described(metadata) {
  const description = JSON.parse(metadata["dermafuse.description"] ?? "null");
  if (!description || metadata["dermafuse.format"] !== "1") throw new Error("the file is no model of this version of DermaFuse");
  return {
    ...description,
    fields: description.fields.map(fieldOf),
    card: linesOf(description.card),
    columns: JSON.parse(metadata["dermafuse.record"] ?? "[]"),
    stage: metadata["dermafuse.stage"],
    complete: JSON.parse(metadata["dermafuse.complete"]),
    partial: JSON.parse(metadata["dermafuse.partial"] ?? "[]"),
  };
}

/** A value of the record that the model does not know. */
export class UnknownValue extends Error {
  constructor(field, message) {
    super(message);
    this.code = "field_value";
    this.field = `fields.${field}`;
  }
}

/**
 * The record as the model takes it, and what must be said of it: `{ columns, known, values, notes }`, `known` the fields that have a value
 * which the model knows, `values` all that is recorded, by field. `fields` are those of the model, `values` pairs of a name and a text.
 */
export function encoded({ fields, columns, unseen_category }, values) {
  const given = new Map(values);
  const notes = [];
  const known = [];
  const numbers = new Map();
  for (const { name, kind, categories, range, unit, never_seen, known_before_diagnosis } of fields) {
    if (!given.has(name)) continue;
    const value = given.get(name);
    if (kind === "category") {
      if (!categories.includes(value)) throw new UnknownValue(name, `\`${name}\` = \`${value}\`: one of ${categories.join(", ")} is expected`);
      if (never_seen?.includes(value)) {
        if (unseen_category === "refuse") throw new UnknownValue(name, `\`${name}\` = \`${value}\`: no training case had it`);
        notes.push({ kind: "never_seen", field: name, category: value });
        given.delete(name);
      }
    } else {
      const number = Number(value);
      if (value === "" || !Number.isFinite(number)) throw new UnknownValue(name, `\`${name}\` = \`${value}\`: a number is expected`);
      numbers.set(name, number);
      if (range && (number < range[0] || number > range[1])) notes.push({ kind: "out_of_range", field: name, value: number, unit });
    }
    if (!known_before_diagnosis) notes.push({ kind: "known_after_diagnosis", field: name });
    if (given.has(name)) known.push(name);
  }
  const missing = fields.map(({ name }) => name).filter((name) => !values.some(([other]) => other === name));
  if (missing.length) notes.push({ kind: "not_recorded", fields: missing });
  const column = ({ field, kind, category, mean, deviation }) => {
    if (kind === "missing") return given.has(field) ? 0 : 1;
    if (kind === "category") return given.get(field) === category ? 1 : 0;
    return numbers.has(field) && deviation > 0 ? (numbers.get(field) - mean) / deviation : 0;
  };
  const recorded = values.map(([name, value]) => [name, numbers.get(name) ?? value]);
  return { columns: Float32Array.from(columns, column), known, values: new Map(recorded), notes };
}
