// What the page asks its server for. The token travels in a header that no other site can set.

const base = new URL("api/", document.baseURI);
const SILENCE = 45_000; // three of the server's beats: the connection is gone, and nobody says so
const KEY = "finite-memory-token";

let token = "";
const fragment = new URLSearchParams(location.hash.slice(1));
if (fragment.has("token")) {
  token = fragment.get("token");
  history.replaceState(null, "", location.pathname + location.search);
}
try {
  if (token) sessionStorage.setItem(KEY, token);
  else token = sessionStorage.getItem(KEY) ?? "";
} catch {
  // Storage may be switched off; then the token is asked for again after a reload.
}

export function unlock(given) {
  token = given.trim();
  try { sessionStorage.setItem(KEY, token); } catch { /* as above */ }
}

export class Failed extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, { query = {}, body, headers = {}, signal } = {}) {
  const url = new URL(path, base);
  for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
  const sent = { ...headers, authorization: `Bearer ${token}` };
  if (body !== undefined) sent["content-type"] = "application/json";
  const response = await fetch(url, {
    method: body === undefined ? "GET" : "POST",
    headers: sent,
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "omit",
    cache: "no-store",
    signal,
  });
  if (!response.ok) {
    let told = response.statusText;
    try { told = (await response.json()).error ?? told; } catch { /* no JSON: the status says it */ }
    throw new Failed(response.status, told);
  }
  return response;
}

export async function get(path, query) {
  return (await ask(path, { query })).json();
}

export async function post(path, query, body) {
  return (await ask(path, { query, body })).json();
}

export async function download(path, query, name) {
  const blob = await (await ask(path, { query })).blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Hand each server-sent event of an answer to `hear(kind, data, id)`, until it ends. */
export async function stream(path, options, hear, alive = () => {}) {
  const response = await ask(path, options);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const text of events) {
      const fields = {};
      for (const line of text.split("\n")) {
        const at = line.indexOf(": ");
        if (at > 0) fields[line.slice(0, at)] = line.slice(at + 2);
      }
      if (fields.event) hear(fields.event, JSON.parse(fields.data), fields.id);
    }
  }
}

/** Follow a conversation's events for good; a connection that drops is taken up where it was. */
export async function follow(id, last, hear, state, signal) {
  let wait = 200;
  while (!signal.aborted) {
    const silent = new AbortController();
    let due = 0;
    const alive = () => {
      clearTimeout(due);
      due = setTimeout(() => silent.abort(), SILENCE);
    };
    alive();
    try {
      const headers = { "last-event-id": last };
      const either = AbortSignal.any([signal, silent.signal]);
      await stream("events", { query: { id }, headers, signal: either }, (kind, data, name) => {
        wait = 200;
        state("live");
        last = name ?? last;
        hear(kind, data);
      }, alive);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Failed && error.status < 500) throw error;
    } finally {
      clearTimeout(due);
    }
    if (signal.aborted) return;
    state("wait");
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(wait * 2, 5_000);
  }
}
