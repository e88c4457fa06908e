// The page: one conversation at a time, from a snapshot and the events that follow it.

import { Failed, download, follow, get, stream, unlock } from "./api.js";
import { List } from "./list.js";
import { OneMessage, PLACES, Preview, ROLES, chip, element, openTab, plain, search, when } from "./panel.js";
import { Plots, number, tabulate } from "./plots.js";
import { drawStrip, forgetColours, frame } from "./strip.js";

const $ = (id) => document.getElementById(id);
const CHUNK = 50; // texts are asked for in chunks of so many
const MOST_TEXTS = 3_000; // and no more are kept

const page = {
  id: "",
  can: [],
  roles: "",
  places: [],
  tokens: [],
  sizes: [],
  sums: [0],
  turns: null,
  state: {},
  texts: new Map(),
  age: 0, // texts of another age may have another reason
  waiting: new Set(),
  only: "", // the place that is shown alone
  chosen: null,
  focused: null,
  sight: [],
  ghosts: [], // what is being said, and is in no transcript yet
  preview: { places: null, leaving: new Set() },

  get count() {
    return this.places.length;
  },
  placeOf(index) {
    return (this.preview.places ?? this.places)[index] ?? "W";
  },
  fullTokens(messages) {
    return messages.map((count) => this.sums[Math.min(count, this.count)] + 3);
  },
  gone: false,
  notice(text, gone = false) {
    $("notice").textContent = text;
    $("notice").hidden = !text;
    page.gone = gone;
  },
};

// -- the list ----------------------------------------------------------------------------------

function make(index) {
  const row = element("article");
  row.tabIndex = -1;
  const box = element("div");
  const top = element("div", "top");
  const text = element("div", "text");
  text.dir = "auto";
  const why = element("p", "why");
  why.id = `why-${index}`;
  row.setAttribute("aria-describedby", why.id);
  box.append(top, text, element("div", "more"), why);
  row.append(box);
  row.addEventListener("click", () => choose(index));
  row.addEventListener("focus", () => (page.focused = index));
  return row;
}

function fill(row, index) {
  const [top, text, more, why] = row.firstChild.children;
  const ghost = page.ghosts[index - page.count];
  const place = ghost ? "W" : page.placeOf(index);
  const role = ghost ? ghost.role : page.roles[index];
  const told = ghost ?? page.texts.get(index);
  row.dataset.place = place;
  row.dataset.role = role;
  row.setAttribute("aria-posinset", index + 1);
  row.setAttribute("aria-setsize", page.count + page.ghosts.length);
  row.classList.toggle("leaves", page.preview.leaving.has(index));
  if (index === page.chosen) row.setAttribute("aria-current", "true");
  else row.removeAttribute("aria-current");
  const who = element("b", "", told?.name ? `${ROLES[role]} ${told.name}` : ROLES[role]);
  const facts = [];
  if (told?.time) facts.push(when(told.time));
  if (!ghost && page.tokens[index]) facts.push(`${number(page.tokens[index])} tokens`);
  facts.push(ghost ? "" : `#${index}`);
  top.replaceChildren(who, ghost ? element("span", "", ghost.state) : chip(place, page.preview.leaving.has(index)), element("span", "number", facts.join(" · ")));
  row.setAttribute("aria-label", `${who.textContent}, ${PLACES[place][1]}`);
  text.classList.toggle("cursor", Boolean(ghost?.open));
  if (told) {
    if (text.textContent !== told.shown) text.textContent = told.shown;
  } else {
    text.textContent = page.can.includes("texts") ? "…" : "";
  }
  more.textContent = told?.more ? `… ${number(told.more)} more characters; open it to see all` : "";
  more.hidden = !told?.more;
  why.textContent = told?.why ?? "";
  why.hidden = !told?.why;
}

function guess(index) {
  const size = Math.min(1_200, page.sizes[index] ?? 40);
  const across = Math.max(20, Math.min(860, list.width) / 7.6);
  return 52 + 22.5 * Math.max(1, Math.min(24, Math.ceil(size / across)));
}

const list = new List($("list"), {
  make,
  fill,
  guess,
  scrolled(indices, end) {
    page.sight = indices;
    frame($("sight"), indices.filter((index) => index < page.count), page.count);
    $("latest").hidden = end || !list.length;
    fetchTexts();
  },
});

let overviewDue = false;
function drawOverview() {
  if (overviewDue) return;
  overviewDue = true;
  requestAnimationFrame(() => {
    overviewDue = false;
    drawStrip($("strip"), page.preview.places ?? page.places);
  });
}
new ResizeObserver(drawOverview).observe($("strip"));

async function fetchTexts() {
  if (!page.can.includes("texts")) return;
  const { id, age } = page;
  const wanted = new Set();
  for (const index of list.nodes.keys()) {
    if (index >= page.count) continue;
    if (page.texts.get(index)?.age !== age) wanted.add(Math.floor(index / CHUNK));
  }
  for (const chunk of wanted) {
    const name = `${age}:${chunk}`;
    if (page.waiting.has(name)) continue;
    page.waiting.add(name);
    try {
      const { texts } = await get("texts", { id, start: chunk * CHUNK, stop: (chunk + 1) * CHUNK });
      if (id !== page.id) return;
      const news = new Set();
      for (const text of texts) {
        keep(text, age);
        news.add(text.index);
      }
      trim();
      list.refresh(news);
    } catch (error) {
      if (!(error instanceof Failed)) return; // the connection's state tells of it
      if (error.status !== 404) page.notice(error.message);
    } finally {
      page.waiting.delete(name);
    }
  }
}

function keep(text, age = page.age) {
  page.texts.set(text.index, { ...text, name: plain(text.name ?? ""), shown: plain(text.text), age });
}

function trim() {
  for (const index of page.texts.keys()) {
    if (page.texts.size <= MOST_TEXTS) return;
    if (!list.nodes.has(index)) page.texts.delete(index);
  }
}

function showRows() {
  const places = page.preview.places ?? page.places;
  let only = null;
  if (page.only) {
    only = [];
    for (let index = 0; index < page.count; index++) {
      if (places[index] === page.only) only.push(index);
    }
  }
  list.show(page.count + page.ghosts.length, only);
  const empty = !list.length;
  $("empty").hidden = !empty || Boolean(page.only);
  $("list").setAttribute("role", empty ? "region" : "feed"); // a feed without articles is none
  drawOverview();
}

function choose(index) {
  if (index >= page.count) return;
  const before = page.chosen;
  page.chosen = index;
  page.focused = index;
  list.refresh(new Set([before, index]));
  one.show(index);
  openTab("message");
  if (matchMedia("(max-width: 860px)").matches) openView("panel");
}

function goTo(index, where) {
  if (page.only && page.placeOf(index) !== page.only) {
    page.only = "";
    legend();
    showRows();
  }
  const row = list.reveal(index, where === "middle");
  row?.focus({ preventScroll: true });
}

$("list").addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || !list.length) return;
  const at = page.focused === null ? -1 : (list.position(page.focused) ?? -1);
  const last = list.length - 1;
  const far = Math.max(1, page.sight.length - 1);
  const inside = $("list").contains(document.activeElement) && document.activeElement !== $("list");
  const start = inside && at >= 0 ? at : list.at(list.top) - (event.key === "ArrowDown" ? 1 : 0);
  const next = {
    ArrowDown: start + 1, j: start + 1, ArrowUp: start - 1, k: start - 1,
    PageDown: start + far, PageUp: start - far, Home: 0, End: last,
  }[event.key];
  if (next !== undefined) {
    event.preventDefault();
    goTo(list.index(Math.max(0, Math.min(last, next))));
  } else if ((event.key === "Enter" || event.key === " ") && inside && page.focused !== null) {
    event.preventDefault();
    choose(page.focused);
  }
});

$("latest").addEventListener("click", () => list.toEnd());
$("strip").addEventListener("click", (event) => {
  const index = Math.floor((event.offsetX / $("strip").clientWidth) * page.count);
  if (page.count) goTo(Math.min(page.count - 1, index), "middle");
});

// -- what stands above and beside it -----------------------------------------------------------

function legend() {
  const places = page.preview.places ?? page.places;
  const counts = {};
  for (const place of places) counts[place] = (counts[place] ?? 0) + 1;
  const shown = Object.keys(PLACES).filter((place) => counts[place] || "PSWRA".includes(place));
  const focused = document.activeElement?.closest("#legend button")?.dataset.place;
  $("legend").replaceChildren(...shown.map((place) => {
    const item = element("li");
    const [sign, name] = PLACES[place];
    const button = element("button", "", `${sign} ${name} ${number(counts[place] ?? 0)}`);
    button.type = "button";
    button.dataset.place = place;
    button.disabled = !counts[place] && page.only !== place;
    button.setAttribute("aria-pressed", page.only === place);
    button.addEventListener("click", () => {
      page.only = page.only === place ? "" : place;
      legend();
      showRows();
    });
    item.append(button);
    return item;
  }));
  if (focused) $("legend").querySelector(`[data-place="${focused}"]`)?.focus();
}

function figures() {
  const { state } = page;
  const held = state.held ?? page.turns.tokens.at(-1) ?? 0;
  $("held").textContent = number(held);
  $("budget").textContent = number(state.budget);
  $("fill").style.width = `${Math.min(100, (100 * held) / state.budget)}%`;
  const low = typeof state.low_water === "number" ? `${Math.round(100 * state.low_water)}%` : state.low_water;
  $("policy").textContent = `· ${state.policy}, low water ${low}${state.recall ? ", with recall" : ""}`;
  plots.show(page.turns, state, page.preview.turns ?? null);
  if ($("told").open) tabulate($("turns"), page.turns);
  const ledger = state.ledger?.length ? `\n\nFacts kept beside it:\n${state.ledger.map((fact) => `• ${fact}`).join("\n")}` : "";
  $("summary").hidden = !state.summary && !ledger;
  document.querySelector("#summary pre").textContent = plain((state.summary ?? "") + ledger);
  $("notes").hidden = !state.notes?.length;
  document.querySelector("#notes ul").replaceChildren(...(state.notes ?? []).map((note) => element("li", "", note)));
  askForHistory();
}
$("told").addEventListener("toggle", () => page.turns && tabulate($("turns"), page.turns));

// Of the time before anyone listened, a replay with the same settings tells the turns.
const AT_ONCE = 600; // messages that are replayed without being asked to
let reckoning = null;
function askForHistory() {
  if (reckoning) return;
  const known = page.turns.messages[0] ?? Infinity;
  const missing = page.can.includes("preview") && page.count > 1 && known > 2;
  $("reckoning").hidden = !missing;
  if (!missing) return;
  $("reckoning").querySelector("button").hidden = false;
  $("reckoning").querySelector("p").textContent = "Turns before this page listened are not stored.";
  if (page.count <= AT_ONCE && page.reckoned !== page.id) reckon();
}
async function reckon() {
  page.reckoned = page.id;
  const told = $("reckoning").querySelector("p");
  $("reckoning").querySelector("button").hidden = true;
  told.textContent = "Working out earlier turns …";
  const own = (reckoning = new AbortController());
  let failure = "Something else was worked out in its place.";
  try {
    await stream("history", { query: { id: page.id }, body: {}, signal: own.signal }, (kind, data) => {
      if (kind === "progress") told.textContent = `Working out earlier turns: ${number(data.done)} of ${number(page.count)} messages`;
      if (kind === "failed") failure = data.error;
      if (kind === "done") failure = "";
    });
  } catch (error) {
    failure = error.message;
  }
  if (reckoning === own) reckoning = null;
  if (own.signal.aborted) return;
  told.textContent = failure;
  $("reckoning").hidden = !failure;
  $("reckoning").querySelector("button").hidden = false;
}
$("reckoning").querySelector("button").addEventListener("click", reckon);

const plots = new Plots($("plots"));
const one = new OneMessage(page);
const preview = new Preview(page, (places, turns, leaving, words) => {
  page.preview = { places, turns, leaving };
  $("previewing").hidden = !words;
  document.querySelector("#previewing span").textContent = `Previewing ${words}`;
  if (!page.turns) return;
  legend();
  if (page.only) showRows();
  else list.refresh();
  drawOverview();
  plots.show(page.turns, page.state, turns);
});
document.querySelector("#previewing button").addEventListener("click", () => preview.stop());
search(page, (index) => {
  openView("conversation");
  goTo(index, "middle");
  const before = page.chosen;
  page.chosen = index;
  list.refresh(new Set([before, index]));
});

function openView(name) {
  document.body.dataset.view = name;
  for (const button of document.querySelectorAll("#views button")) {
    button.setAttribute("aria-pressed", button.dataset.view === name);
  }
  list.schedule();
}
for (const button of document.querySelectorAll("#views button")) {
  button.addEventListener("click", () => openView(button.dataset.view));
}

// -- what comes in -----------------------------------------------------------------------------

function addRows(told) {
  page.roles += told.roles;
  page.tokens.push(...told.tokens);
  page.sizes.push(...told.sizes);
  for (const tokens of told.tokens) page.sums.push(page.sums.at(-1) + tokens);
  page.places.push(...told.places);
}

function addTurns(told) {
  for (const [name, values] of Object.entries(told)) page.turns[name].push(...values);
}

function take(snapshot) {
  const same = page.id === snapshot.id;
  Object.assign(page, {
    id: snapshot.id, can: snapshot.can, roles: "", places: [], tokens: [], sizes: [], sums: [0],
    turns: Object.fromEntries(Object.keys(snapshot.turns).map((name) => [name, []])),
    state: snapshot.state, ghosts: same ? page.ghosts : [],
  });
  page.texts.clear();
  page.age++;
  for (const text of snapshot.texts ?? []) keep(text);
  addRows(snapshot);
  addTurns(snapshot.turns);
  if (!same) {
    page.only = "";
    page.chosen = page.focused = null;
    one.clear();
    $("hits").replaceChildren();
    $("found").textContent = "";
    preview.begin(policies, snapshot.state);
  } else if (page.chosen !== null) {
    one.show(page.chosen);
  }
  for (const hit of document.querySelectorAll("#hits [data-index]")) {
    if (page.places[hit.dataset.index] === "F") hit.remove();
  }
  $("export").disabled = !page.can.includes("texts");
  legend();
  if (!same) list.clear();
  showRows();
  if (same) list.refresh();
  else list.toEnd();
  figures();
  $("list").setAttribute("aria-busy", "false");
  document.documentElement.dataset.ready = page.count;
}

function update(change) {
  if (change.start !== page.count) return false; // something is missing: read all of it again
  for (const [index, place] of change.moved) page.places[index] = place;
  const grown = change.places.length > 0;
  if (grown) page.ghosts = [];
  addRows(change);
  addTurns(change.turns);
  page.state = change.state;
  page.age++;
  for (const text of change.texts) keep(text);
  if (page.preview.leaving.size || page.preview.places) preview.stop();
  legend();
  if (grown || page.only) showRows();
  list.refresh();
  figures();
  fetchTexts();
  if (page.chosen !== null && change.moved.some(([index]) => index === page.chosen)) one.show(page.chosen);
  document.documentElement.dataset.ready = page.count;
  return true;
}

const STATES = { live: "Live", wait: "Connecting …", gone: "Gone" };
function connection(state) {
  $("status").dataset.state = state;
  $("status").textContent = STATES[state];
}

let following = null;
async function open(id, given) {
  following?.abort();
  if (id !== page.id) {
    reckoning?.abort();
    reckoning = null;
  }
  const own = (following = new AbortController());
  page.notice("");
  connection("wait");
  try {
    const snapshot = await (given ?? get("session", { id }));
    if (own.signal.aborted) return;
    take(snapshot);
    await follow(id, snapshot.event, (kind, data) => hear(id, kind, data), connection, own.signal);
  } catch (error) {
    if (own.signal.aborted) return;
    connection("gone");
    failed(error, id);
  }
}

function hear(id, kind, data) {
  if (kind === "gone") {
    connection("gone");
    page.notice(`${data.why}. What is shown is what was there.`, true);
  } else if (kind === "reset" || (kind === "update" && !update(data))) {
    open(id);
  } else if (kind === "update" && page.gone) {
    page.notice("");
  }
}

function failed(error, id) {
  if (error instanceof Failed && error.status === 401) {
    $("locked").showModal();
  } else if (error instanceof Failed) {
    page.notice(error.message);
    listSessions();
  } else {
    page.notice("The server does not answer. Trying again …");
    setTimeout(() => (id === undefined ? begin() : open(id)), 2_000);
  }
}

// -- which conversation ------------------------------------------------------------------------

let policies = [];

function nameOf(session) {
  const opening = session.title || session.id;
  return `${opening.length > 40 ? `${opening.slice(0, 40)}…` : opening} (${number(session.messages)})`;
}

async function listSessions() {
  const told = await get("state", {});
  policies = told.policies;
  $("title").textContent = told.title;
  $("composer").hidden = !told.chat;
  $("hint").textContent = told.chat
    ? "Say something below, and see what the memory does with it."
    : "Point a client at this server; what it says appears here.";
  $("choose").hidden = told.mode === "chat";
  $("sessions").replaceChildren(...told.sessions.map((session) => {
    const option = element("option", "", nameOf(session));
    option.value = session.id;
    return option;
  }));
  if (page.id && told.sessions.some((session) => session.id === page.id)) $("sessions").value = page.id;
  return told;
}

let early = () => get("session", { id: "" }); // the newest: asked for at once, to be there early
async function begin() {
  const first = early();
  early = () => Promise.resolve(null);
  first.catch(() => {}); // told of below, where it is waited for
  try {
    const told = await listSessions();
    page.notice("");
    if (told.sessions.length) {
      const { id } = told.sessions[0];
      const given = await first.catch(() => null);
      await open(id, given?.id === id ? given : undefined);
    } else {
      connection("live");
      $("empty").hidden = false;
      setTimeout(begin, 2_000);
    }
  } catch (error) {
    failed(error);
  }
}

$("sessions").addEventListener("change", () => open($("sessions").value));
$("sessions").addEventListener("focus", () => listSessions().catch(failed));
$("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  unlock($("token").value);
  $("token").value = "";
  $("locked").close();
  begin();
});
$("export").addEventListener("click", () => {
  const name = `${page.id.replace(/[^\w.-]+/g, "_").slice(0, 80) || "conversation"}.json`;
  download("export", { id: page.id }, name).catch((error) => page.notice(error.message));
});

// -- talking -----------------------------------------------------------------------------------

let talking = null;
$("composer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("say").value;
  if (talking || !text.trim()) return;
  talking = new AbortController();
  page.notice("");
  $("say").value = "";
  fit();
  $("send").hidden = true;
  $("stop").hidden = false;
  const said = { role: "u", shown: plain(text), state: "sending" };
  const reply = { role: "a", shown: "", state: "replying", open: true };
  page.only = "";
  page.ghosts = [said, reply];
  showRows();
  list.refresh();
  list.toEnd();
  let whole = "";
  let failure = "";
  try {
    await stream("chat", { body: { text }, signal: talking.signal }, (kind, data) => {
      if (kind === "piece") {
        whole += data.text;
        reply.shown = plain(whole);
        const at = page.count + 1;
        if (page.ghosts[1] === reply) {
          const end = list.atEnd;
          list.refresh(new Set([at]));
          if (end) list.toEnd();
        }
      } else if (kind === "failed") {
        failure = data.error;
      }
    });
  } catch (error) {
    failure = talking.signal.aborted ? "Stopped; the turn was undone." : error.message;
  }
  if (failure) {
    page.notice(failure);
    page.ghosts = [];
    showRows();
    if (!$("say").value) $("say").value = text;
    fit();
  }
  talking = null;
  $("send").hidden = false;
  $("stop").hidden = true;
  $("say").focus();
});
$("stop").addEventListener("click", () => talking?.abort());
$("say").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("composer").requestSubmit();
  }
});
function fit() {
  $("say").style.height = "auto";
  $("say").style.height = `${$("say").scrollHeight + 2}px`;
}
$("say").addEventListener("input", fit);

// -- light and dark ----------------------------------------------------------------------------

const THEMES = ["auto", "light", "dark"];
function theme(name) {
  document.documentElement.dataset.theme = name;
  $("theme").textContent = `${{ auto: "◐", light: "☀", dark: "☾" }[name]} ${name}`;
  $("theme").setAttribute("aria-label", `Theme: ${name}`);
  try { localStorage.setItem("finite-memory-theme", name); } catch { /* it lasts until a reload */ }
  forgetColours();
  drawOverview();
  plots.draw();
}
$("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme;
  theme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
});
let stored = null;
try { stored = localStorage.getItem("finite-memory-theme"); } catch { /* as above */ }
theme(THEMES.includes(stored) ? stored : "auto");
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme(document.documentElement.dataset.theme));

begin();
