// How well the model did on test cases, and on those like this patient: the program's sentences.
"use strict";

/** Fewer cases say little. */
const SMALL_GROUP = 20;

const percent = (share) => (100 * share).toFixed(1);
const proportion = ({ value, interval, cases }) =>
  typeof value === "number" && interval ? `${percent(value)} (${percent(interval.lower)}–${percent(interval.upper)}) of ${cases}` : "n/a of 0";

/** A number as the program writes it: the shortest that is read as the same. */
const written = (number) => String(number);

/** Whether a group has a patient with this value of its field; `undefined` if it is not recorded. */
function has(of, value) {
  if (of === "not_recorded") return value === undefined;
  if (of.category !== undefined) return value === of.category;
  return typeof value === "number" && value >= of.numbers.from && (of.numbers.below === null || value < of.numbers.below);
}

/** What a group is called in an answer, and among what is not known. */
function named({ field, of }) {
  if (of === "not_recorded") return [`${field} not recorded`, `${field}: not recorded`];
  if (of.category !== undefined) return [`${field} ${of.category}`, `${field}: ${of.category}`];
  const { from, below } = of.numbers;
  if (below === null) return [`${field} from ${written(from)}`, `${field}: ${written(from)}+`];
  return [`${field} from ${written(from)} to below ${written(below)}`, `${field}: ${written(from)}–${written(below - 1)}`];
}

/** Sentences in English; `values` are those of the fields that are recorded, a number where the field has numbers. */
export function evidenceOf(performance, values) {
  if (!performance) return [];
  const sentence = (of, { accuracy, questions = [] }) => {
    const asked = questions.map(({ name, sensitivity, specificity }) => `; ${name}: sensitivity ${proportion(sensitivity)}, specificity ${proportion(specificity)}`);
    return `${of}: accuracy in per cent ${proportion(accuracy)}${asked.join("")}.`;
  };
  const like = performance.groups.filter(({ field, of }) => has(of, values.get(field)));
  const unknown = [...new Set(performance.groups.map(({ field }) => field))].flatMap((field) => {
    const value = values.get(field);
    if (value === undefined) return [`${field} is not recorded.`];
    const group = like.find((found) => found.field === field);
    if (!group) return [`No test case has ${field} = ${value}.`];
    const { cases } = group.numbers;
    return cases < SMALL_GROUP ? [`Only ${cases} test cases have ${named(group)[1]}: their numbers are mostly chance.`] : [];
  });
  return [
    sentence(`Test cases, ${performance.task}`, performance.all),
    ...like.map((group) => sentence(named(group)[0], group.numbers)),
    ...unknown,
  ];
}
