// From the numbers of a model's file to an answer, as a server gives it.
"use strict";

import { evidenceOf } from "./evidence.js";

const hexadecimal = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** The classes that remain possible for the error rate that the model was made with; nothing for a model without such sets. */
function possible(sets, task, probabilities) {
  if (!sets) return undefined;
  const { all, classes } = sets.tasks.find((of) => of.task === task.name);
  const quantile = (own) => (sets.coverage === "marginal" ? all : own).score;
  const isPossible = ([name, own]) => quantile(own) === null || 1 - probabilities[task.classes.indexOf(name)] <= quantile(own);
  return classes.filter(isPossible).map(([name]) => name);
}

/** The answer to the question of a group of classes. */
function groupOf({ name, task, members, positive, operating_point }, model, numbers) {
  const { classes } = model.tasks.find((of) => of.name === task);
  const yes = positive.flatMap((member) => members[member]);
  const probability = classes.reduce((sum, each, at) => sum + (yes.includes(each) ? numbers[task][at] : 0), 0);
  const threshold = operating_point?.threshold;
  return { name, task, probability, threshold, yes: threshold === undefined ? undefined : probability >= threshold };
}

/** The seven-point checklist of the predicted classes; nothing for a model without its tasks. */
function sevenPoint(tasks, { criteria, suspicious_from }) {
  const found = criteria.map(({ label, class: counts, points }) => {
    const task = tasks.find((of) => of.label === label);
    return task?.classes.some(({ name }) => name === counts) ? { task: task.name, points, met: task.classes[0].name === counts } : null;
  });
  if (found.includes(null)) return undefined;
  const met = found.filter((criterion) => criterion.met);
  return { points: met.reduce((sum, { points }) => sum + points, 0), suspicious_from, met: met.map(({ task }) => task) };
}

/**
 * The answer to a case: `numbers` are the probabilities of each task, by its name, `record` what was encoded, `basis` the images and fields
 * that it stands on, `notes` and `findings` what must be said besides.
 */
export function answerOf(model, rules, { numbers, record, basis, notes, findings }) {
  const tasks = model.tasks.map((task) => {
    const probabilities = Array.from(numbers[task.name]);
    const ranked = task.classes.map((name, at) => ({ name, probability: probabilities[at] }));
    ranked.sort((one, other) => other.probability - one.probability);
    return { name: task.name, label: task.label, classes: ranked, possible: possible(model.prediction_sets, task, probabilities) };
  });
  return {
    id: hexadecimal(crypto.getRandomValues(new Uint8Array(8))),
    model: model.id,
    tasks,
    groups: model.groups.map((group) => groupOf(group, model, numbers)),
    evidence: evidenceOf(model.performance, record.values),
    basis,
    notes,
    findings,
    seven_point: sevenPoint(tasks, rules.seven_point),
    stored: false,
  };
}
