// The page: it draws the form, and the answer that its source gives. A server is one source; a file that is computed here is another.
"use strict";

import { source } from "./source.js";

const IMAGES = ["clinical", "dermoscopic"];

let texts = {};
let language = "en";
let model = null;
/** What is shown, so that another language can show it again. */
let shown = { answer: null, explanation: null, given: [], time: null, status: null, error: null, kept: null };
/** What the form is being asked at the moment. */
let pending = null;
const files = {};

const at = (id) => document.getElementById(id);

/** The text of a key, in the words of the source if it has its own, with what it names filled in; nothing for a key that no table has. */
function text(key, values = {}) {
  const own = `${source.words}.${key}`;
  const found = texts[language]?.[own] ?? texts[language]?.[key] ?? texts.en?.[own] ?? texts.en?.[key];
  return found?.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** An element with text, classes and children. Nothing is ever parsed as HTML. */
function element(name, { words, lang, type, children = [] } = {}) {
  const made = document.createElement(name);
  if (words !== undefined) made.textContent = words;
  if (lang) made.lang = lang;
  if (type) made.className = type;
  made.append(...children);
  return made;
}

const percent = (value, digits = 1) =>
  new Intl.NumberFormat(language, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
const megabytes = (bytes) =>
  new Intl.NumberFormat(language, { style: "unit", unit: "megabyte", maximumFractionDigits: bytes < 1e6 ? 2 : 1 }).format(bytes / 1e6);
const list = (words) => new Intl.ListFormat(language, { style: "short", type: "unit" }).format(words);

/** What a field or category is called, in words of the reader where the table has them. */
const fieldName = (name) => text(`field.${name}`) ?? name;
const unitName = (name) => text(`unit.${name}`) ?? name;
const categoryName = (name) => text(`category.${name}`) ?? name;
/** An input of the model, as contributions name it. */
const inputName = (input) => (input.startsWith("fields.") ? fieldName(input.slice(7)) : text(input) ?? input);

// ---- Saying

/** Tells what happens; screen readers read it out. */
function say(key, values) {
  shown.status = key ? { key, values } : null;
  at("status").textContent = key ? text(key, values) : "";
}

function showError(error) {
  shown.error = error;
  const place = at("error");
  place.hidden = !error;
  for (const wrong of document.querySelectorAll("[aria-invalid]")) wrong.removeAttribute("aria-invalid");
  for (const note of document.querySelectorAll(".slot .wrong, .field .wrong")) note.textContent = "";
  if (!error) return;
  const known = text(`error.${error.code}`, { message: error.message, limit: megabytes(model?.max_body_bytes ?? 0) });
  place.replaceChildren(element("p", { words: known ?? error.message, lang: known || error.own ? undefined : "en" }));
  if (known && error.code !== "failed") place.append(element("p", { words: error.message, lang: "en", type: "hint" }));
  const input = error.field && at(error.field);
  if (input) {
    input.setAttribute("aria-invalid", "true");
    const note = at(`error-${error.field}`);
    if (note) note.textContent = known ?? error.message;
    input.focus();
  } else {
    place.focus();
  }
}

// ---- The form

function makeForm() {
  for (const image of IMAGES) {
    const used = model.images.includes(image);
    at(`slot-${image}`).hidden = !used;
  }
  at("images").hidden = model.images.length === 0;
  at("record").hidden = model.fields.length === 0;
  const fields = model.fields.map((field) => {
    const id = `fields.${field.name}`;
    const before = at(id)?.value ?? "";
    let input;
    if (field.kind === "category") {
      input = element("select");
      input.append(new Option(text("not_recorded"), ""));
      for (const category of field.categories) input.append(new Option(categoryName(category), category));
    } else {
      input = element("input");
      input.type = "number";
      input.step = "any";
      input.inputMode = "decimal";
      input.placeholder = text("not_recorded");
    }
    input.id = id;
    input.value = before;
    const label = element("label", { words: field.unit ? `${fieldName(field.name)} (${unitName(field.unit)})` : fieldName(field.name) });
    label.htmlFor = id;
    const hints = [];
    if (field.range) hints.push(text("range", { low: field.range[0], high: field.range[1] }));
    if (!field.known_before_diagnosis) hints.push(text("after_diagnosis"));
    const hint = element("p", { words: hints.join(" "), type: "hint" });
    hint.id = `hint-${id}`;
    const wrong = element("p", { type: "wrong" });
    wrong.id = `error-${id}`;
    input.setAttribute("aria-describedby", `${hint.id} ${wrong.id}`);
    return element("div", { type: "field", children: [label, input, hint, wrong] });
  });
  at("fields").replaceChildren(...fields);
}

function choose(image, file) {
  const preview = at(`preview-${image}`);
  if (preview.src) URL.revokeObjectURL(preview.src);
  preview.removeAttribute("src");
  preview.hidden = true;
  if (file) files[image] = file;
  else delete files[image];
  for (const id of [image, `camera-${image}`]) if (!file) at(id).value = "";
  at(`remove-${image}`).hidden = !file;
  at(`shown-${image}`).textContent = file ? text("chosen", { size: megabytes(file.size) }) : "";
  if (!file) return;
  preview.onload = () => (preview.hidden = false);
  preview.onerror = () => (at(`shown-${image}`).textContent = text("no_preview", { size: megabytes(file.size) }));
  preview.alt = text("photo_alt", { image: text(image) });
  preview.src = URL.createObjectURL(file);
}

/** The values of the form, by their field's name. */
function recorded() {
  return model.fields.map((field) => [field.name, at(`fields.${field.name}`).value.trim()]).filter(([, value]) => value);
}

async function submit(event) {
  event.preventDefault();
  if (pending) return;
  showError(null);
  const given = IMAGES.filter((image) => files[image] && model.images.includes(image)).map((image) => [image, files[image]]);
  const asked = { images: Object.fromEntries(given), fields: recorded() };
  const bytes = given.reduce((sum, [, file]) => sum + file.size, 0);
  if (given.length === 0 && asked.fields.length === 0) return showError({ own: true, message: text("nothing") });
  if (model.max_body_bytes && bytes > model.max_body_bytes) return showError({ code: "too_large", message: megabytes(bytes) });
  pending = new AbortController();
  const own = pending;
  const options = { signal: own.signal, busy: (seconds) => say("waiting", { seconds }) };
  at("ask").setAttribute("aria-disabled", "true");
  clearAnswer();
  say("asking");
  try {
    const answer = await source.predict(asked, options);
    if (own.signal.aborted) return;
    [shown.answer, shown.given, shown.time] = [answer, asked.fields, new Date()];
    showAnswer();
    at("answer-title").focus();
    if (source.explain && at("explain").checked) {
      say("explaining");
      shown.explanation = await source.explain(asked, options);
      showExplanation();
      say("explained");
    } else {
      say("answered", { answer: topLine() });
    }
  } catch (error) {
    if (own.signal.aborted) return;
    say(null);
    if (error.code === "no_token") return lock(true);
    showError(error);
  } finally {
    if (pending === own) {
      pending = null;
      at("ask").removeAttribute("aria-disabled");
    }
  }
}

function clearAnswer() {
  shown = { ...shown, answer: null, explanation: null };
  at("answer").hidden = true;
  at("explanation").hidden = true;
}

function newCase() {
  pending?.abort();
  pending = null;
  at("ask").removeAttribute("aria-disabled");
  for (const image of IMAGES) choose(image, null);
  clearAnswer();
  showError(null);
  say(null);
}

// ---- The answer

const topLine = () => {
  const [task] = shown.answer.tasks;
  const [top] = task.classes;
  return `${task.label}: ${top.name} ${percent(top.probability)}`;
};

/** A bar from 0 to 1; with `middle` from −1 to 1. The number beside it says the same to screen readers. */
function bar(value, middle = false) {
  const inner = element("span", { type: value < 0 ? "against" : "" });
  if (middle) {
    inner.style.width = `${50 * Math.min(1, Math.abs(value))}%`;
    inner.style.left = value < 0 ? `${50 - 50 * Math.min(1, -value)}%` : "50%";
  } else {
    inner.style.width = `${100 * value}%`;
  }
  const made = element("div", { type: middle ? "bar middle" : "bar", children: [inner] });
  made.setAttribute("aria-hidden", "true");
  return element("td", { children: [made] });
}

/** A table with a bar for each row. */
function bars(caption, heads, rows, { middle = false, type } = {}) {
  const head = (words) => {
    const cell = element("th", { words });
    cell.scope = "col";
    return cell;
  };
  const lines = rows.map(([name, value, words]) => {
    const first = element("th", { words: name });
    first.scope = "row";
    return element("tr", { children: [first, bar(value, middle), element("td", { words, type: "number" })] });
  });
  const captioned = element("caption", { words: caption });
  // For screen readers; eyes see it by the caption.
  const columns = element("tr", { children: [head(heads[0]), element("td"), head(heads[1])] });
  const thead = element("thead", { type: "unseen", children: [columns] });
  return element("table", { type, children: [captioned, thead, element("tbody", { children: lines })] });
}

/** A sentence of the server in the reader's language, or in English, which it says of itself. */
function sentence(prefix, said) {
  const names = { ...said };
  if (said.image) names.image = text(said.image) ?? said.image;
  if (said.field) names.field = fieldName(said.field);
  if (said.fields) names.fields = list(said.fields.map(fieldName));
  if (said.category) names.category = categoryName(said.category);
  const known = text(`${prefix}.${said.kind}`, names);
  return element("li", known ? { words: known } : { words: said.message, lang: "en" });
}

function showAnswer() {
  const { answer, given, time } = shown;
  at("top").textContent = topLine();
  at("tasks").replaceChildren(
    ...answer.tasks.map((task) => {
      const table = bars(task.label === task.name ? task.name : `${task.label} (${task.name})`, [text("class_head"), text("probability_head")],
        task.classes.map(({ name, probability }) => [name, probability, percent(probability)]));
      const words = task.possible?.length ? text("possible", { classes: list(task.possible) }) : text("possible_none");
      return element("div", { children: task.possible ? [table, element("p", { words, type: "hint" })] : [table] });
    }),
  );
  at("groups").replaceChildren(...answer.groups.map(({ name, probability, threshold, yes }) => {
    const values = { name, probability: percent(probability), threshold: threshold === undefined ? "" : percent(threshold) };
    const words = yes === undefined ? text("group_open", values) : yes ? text("group_yes", values) : text("group_no", values);
    return element("li", { words });
  }));
  at("evidence").hidden = answer.evidence.length === 0;
  at("evidence-list").replaceChildren(...answer.evidence.map((words) => element("li", { words })));
  at("findings").hidden = answer.findings.length === 0;
  at("finding-list").replaceChildren(...answer.findings.map((finding) => {
    const said = sentence("finding", finding);
    if (finding.image) said.prepend(element("strong", { words: `${text(finding.image)}: ` }));
    return said;
  }));
  const seven = answer.seven_point;
  at("seven-point").hidden = !seven;
  if (seven) {
    const met = seven.met.length ? list(seven.met) : text("none_met");
    at("seven-point").textContent = text("seven_point", { points: seven.points, met, from: seven.suspicious_from });
  }
  const basis = [...answer.basis.images.map((image) => text(image)), ...answer.basis.fields.map(fieldName)];
  at("basis").textContent = basis.length ? list(basis) : text("basis_nothing");
  at("given").replaceChildren(...given.flatMap(([name, value]) => [
    element("dt", { words: fieldName(name) }),
    element("dd", { words: categoryName(value) }),
  ]));
  at("notes").hidden = answer.notes.length === 0;
  at("note-list").replaceChildren(...answer.notes.map((note) => sentence("note", note)));
  at("answer-id").textContent = text("answer_id", {
    id: answer.id,
    time: time.toLocaleString(language),
    model: answer.model.slice(0, 12),
  });
  at("diagnosis").hidden = !answer.stored;
  if (answer.stored) {
    at("diagnosis-task").replaceChildren(...answer.tasks.map((task) => new Option(task.label, task.name)));
    offerClasses();
  }
  at("answer").hidden = false;
}

function offerClasses() {
  const task = model.tasks.find(({ name }) => name === at("diagnosis-task").value);
  at("diagnosis-class").replaceChildren(new Option("", ""), ...task.classes.map((name) => new Option(name, name)));
}

async function addDiagnosis(event) {
  event.preventDefault();
  showError(null);
  if (!at("diagnosis-class").value) return at("diagnosis-class").focus();
  try {
    await source.addDiagnosis(shown.answer.id, at("diagnosis-task").value, at("diagnosis-class").value);
    say("diagnosis_added");
  } catch (error) {
    showError(error);
  }
}

function showExplanation() {
  const { explanation } = shown;
  const task = model.tasks.find(({ name }) => name === explanation.task);
  at("heat-about").hidden = explanation.heat.length === 0;
  at("heat-about").textContent = text("heat_about", { class: explanation.class, task: task?.label ?? explanation.task });
  at("heat").replaceChildren(...explanation.heat.map((heat) => {
    const picture = (src, key) => {
      const made = element("img");
      made.alt = text(key, { image: text(heat.image), class: explanation.class });
      made.src = src;
      return made;
    };
    const pair = element("div", { children: [picture(heat.photo, "photo_alt"), picture(heat.overlay, "heat_alt")] });
    const words = `${text(heat.image)} – ${heat.method}.${heat.cold ? ` ${text("cold")}` : ""}`;
    return element("figure", { children: [pair, element("figcaption", { words })] });
  }));
  at("contributions").replaceChildren(...explanation.contributions.map((of) => {
    const label = model.tasks.find(({ name }) => name === of.task)?.label ?? of.task;
    const caption = text("contributions_head", {
      task: label,
      class: of.class,
      probability: percent(of.probability, 0),
      baseline: percent(of.baseline, 0),
    });
    const number = new Intl.NumberFormat(language, { signDisplay: "exceptZero", minimumFractionDigits: 1, maximumFractionDigits: 1 });
    const rows = of.inputs.map(({ input, adds }) => [inputName(input), adds, number.format(100 * adds)]);
    return bars(caption, [text("input_head"), text("adds_head")], rows, { middle: true, type: "contribution" });
  }));
  at("explanation-notes").replaceChildren(...explanation.notes.map((note) => element("li", { words: note, lang: "en" })));
  at("explanation").hidden = false;
}

// ---- The model, the language, the colours

function showModel() {
  at("model-line").textContent = model.synthetic ? text("about_synthetic", { data: model.data_set }) : model.data_set;
  const lines = [
    ["about_data", at("model-line").textContent],
    ["about_images", list(model.images.map((image) => text(image)))],
    ["about_tasks", model.tasks.map((task) => `${task.label}: ${task.classes.join(", ")}`).join("; ")],
    ["about_id", model.id],
  ];
  at("about-list").replaceChildren(...lines.flatMap(([key, words]) => [
    element("dt", { words: text(key) }),
    element("dd", { words }),
  ]));
  at("card").textContent = [...model.card, ...model.notes].join("\n");
  at("card").hidden = !at("card").textContent;
  at("about").hidden = false;
}

function speak(chosen) {
  language = chosen in texts ? chosen : "en";
  document.documentElement.lang = language;
  at("language").value = language;
  for (const place of document.querySelectorAll("[data-text]")) place.textContent = text(place.dataset.text);
  if (model) {
    makeForm();
    showModel();
    for (const image of IMAGES) if (files[image]) choose(image, files[image]);
  }
  if (shown.answer) showAnswer();
  if (shown.explanation) showExplanation();
  if (shown.status) say(shown.status.key, shown.status.values);
  showKept();
}

/** Whether the page opens without a network, for a source that knows. */
function showKept() {
  if (shown.kept !== null) at("kept").textContent = shown.kept ? text("kept") : text("not_kept");
}

/** Asks for the token, or for a case. */
function lock(locked) {
  at("unlock").hidden = !locked;
  at("case").hidden = locked;
  if (locked) at("token").focus();
}

async function open() {
  try {
    model = await source.model((key, values) => say(key, values));
    lock(false);
    say(null);
    speak(language);
  } catch (error) {
    say(null);
    if (error.code !== "no_token") return showError(error);
    if (error.shown) showError({ own: true, message: text("token_wrong") });
    lock(true);
  }
}

function listen() {
  for (const image of IMAGES) {
    for (const id of [image, `camera-${image}`]) {
      at(id).addEventListener("change", () => at(id).files.length && choose(image, at(id).files[0]));
    }
    at(`remove-${image}`).addEventListener("click", () => {
      choose(image, null);
      at(image).focus();
    });
    const slot = at(`slot-${image}`);
    slot.addEventListener("dragover", () => slot.classList.add("over"));
    slot.addEventListener("dragleave", () => slot.classList.remove("over"));
    slot.addEventListener("drop", (event) => {
      slot.classList.remove("over");
      if (event.dataTransfer.files.length) choose(image, event.dataTransfer.files[0]);
    });
  }
  // A file that is dropped beside a place does not replace the page.
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
  at("case").addEventListener("submit", submit);
  at("case").addEventListener("reset", newCase);
  at("diagnosis").addEventListener("submit", addDiagnosis);
  at("diagnosis-task").addEventListener("change", offerClasses);
  at("print").addEventListener("click", () => window.print());
  at("language").addEventListener("change", (event) => {
    localStorage.setItem("language", event.target.value);
    speak(event.target.value);
  });
  at("theme").addEventListener("change", (event) => {
    localStorage.setItem("theme", event.target.value);
    document.documentElement.dataset.theme = event.target.value;
  });
  at("unlock").addEventListener("submit", (event) => {
    event.preventDefault();
    source.unlock(at("token").value.trim());
    at("token").value = "";
    showError(null);
    open();
  });
}

async function start() {
  document.documentElement.dataset.theme = at("theme").value = localStorage.getItem("theme") ?? "auto";
  texts = await (await fetch("texts.json", { credentials: "omit" })).json();
  listen();
  at("explanations").hidden = !source.explain;
  const wished = [new URLSearchParams(location.search).get("lang"), localStorage.getItem("language"), ...navigator.languages];
  speak(wished.map((wish) => wish?.slice(0, 2).toLowerCase()).find((wish) => wish in texts) ?? "en");
  await open();
  if (!source.kept) return;
  shown.kept = await source.kept();
  showKept();
}

start();
