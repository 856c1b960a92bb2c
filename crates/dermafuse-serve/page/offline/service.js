// Keeps the folder's files, so that the page opens without a network, and answers with nothing else. `VERSION` and `FILES`, the names of
// all files with their SHA-256, stand before this.
"use strict";

/** Caches are shared by all pages of an address: those of this folder. */
const OWN = `dermafuse ${new URL(".", location).pathname} `;
const CACHE = `${OWN}${VERSION}`;

async function keep() {
  const cache = await caches.open(CACHE);
  await Promise.all(Object.entries(FILES).map(async ([name, sum]) => {
    const response = await fetch(name, { cache: "no-store", credentials: "same-origin" });
    const bytes = await response.arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    // Files of two exports are never mixed.
    if (!response.ok || found !== sum) throw new Error(`${name} is not the file of this export`);
    const headers = {
      "Content-Type": response.headers.get("Content-Type") ?? "application/octet-stream",
      // With these, browsers let the model be computed by several threads.
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Embedder-Policy": "require-corp",
    };
    await cache.put(name, new Response(bytes, { headers }));
  }));
}

async function answer(request) {
  const asked = new URL(request.url);
  if (asked.origin !== location.origin || request.method !== "GET") return Response.error();
  const name = asked.pathname.endsWith("/") ? new URL("index.html", asked) : new URL(asked.pathname, asked);
  const cache = await caches.open(CACHE);
  return (await cache.match(name)) ?? new Response("There is no such file.", { status: 404 });
}

self.addEventListener("install", (event) => event.waitUntil(keep()));
self.addEventListener("activate", (event) => event.waitUntil((async () => {
  const older = (await caches.keys()).filter((name) => name.startsWith(OWN) && name !== CACHE);
  await Promise.all(older.map((name) => caches.delete(name)));
  await self.clients.claim();
})()));
self.addEventListener("fetch", (event) => event.respondWith(answer(event.request)));
