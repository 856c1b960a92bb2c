// Where the page's answers come from: the API of its own server, and nothing else.
"use strict";

/** How often the page asks a busy server again. */
const TRIES = 3;

let token = sessionStorage.getItem("token");

/** A refusal of the server, with the part of the request that it is about. */
class Refusal extends Error {
  constructor(error, retryAfter) {
    super(error.message);
    this.code = error.code;
    this.field = error.field;
    this.retryAfter = retryAfter;
  }
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal({ code: "failed", message: error.message });
  }
  const body = await response.json().catch(() => ({ error: { code: "failed", message: `HTTP ${response.status}` } }));
  if (response.ok) return body;
  throw new Refusal(body.error, Number(response.headers.get("Retry-After")) || 0);
}

/** Sends a case, and again, a few times, where the server is busy; `busy` is told for how many seconds it waits. */
async function send(path, { images, fields }, { signal, busy }) {
  const body = new FormData();
  // Under a name of ours: that of the file may be a patient's.
  for (const [image, file] of Object.entries(images)) body.append(image, file, "image");
  for (const [name, value] of fields) body.append(`fields.${name}`, value);
  for (let tries = 1; ; tries += 1) {
    try {
      return await ask(path, { method: "POST", body, signal });
    } catch (error) {
      if (error.code !== "busy" || tries === TRIES) throw error;
      const seconds = error.retryAfter || 2;
      busy(seconds);
      await new Promise((done) => setTimeout(done, 1000 * seconds));
    }
  }
}

/**
 * What the page asks. Every source has `words`, what its own texts begin with, `model()` and `predict(case, options)`; `explain`,
 * `addDiagnosis` and `unlock` are those of a source that can. A case is `{ images: { clinical: file }, fields: [[name, value]] }`. Refusals
 * have a `code`, and a `field` if they are about one.
 */
export const source = {
  words: "server",

  /** What the model is. A refusal because of the token says by `shown` that one was shown; it is forgotten then. */
  async model() {
    try {
      return await ask("v1/model");
    } catch (error) {
      if (error.code === "no_token" && token) {
        sessionStorage.removeItem("token");
        token = null;
        error.shown = true;
      }
      throw error;
    }
  },

  predict: (asked, options) => send("v1/predict", asked, options),

  explain: (asked, options) => send("v1/explain", asked, options),

  addDiagnosis: (id, task, name) =>
    ask(`v1/answers/${encodeURIComponent(id)}/diagnosis`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ task, class: name }),
    }),

  /** Remembers the token for as long as the window is open. */
  unlock(shown) {
    token = shown;
    sessionStorage.setItem("token", token);
  },
};
