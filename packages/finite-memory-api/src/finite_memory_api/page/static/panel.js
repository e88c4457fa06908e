// What stands beside the conversation: tabs, the preview, the search, one message.

import { get, post, stream } from "./api.js";
import { number, share } from "./plots.js";

const $ = (id) => document.getElementById(id);

export const PLACES = {
  P: ["◆", "pinned"],
  S: ["≡", "in the summary"],
  W: ["●", "in the window"],
  R: ["↩", "recalled"],
  A: ["○", "archived"],
  F: ["×", "forgotten"],
  "?": ["?", "not known yet"],
};
export const ROLES = { s: "system", d: "developer", u: "user", a: "assistant", t: "tool", "?": "message" };

/** Show what would act on a terminal, or not be seen, as a sign that can be. */
export function plain(text) {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (sign) => {
    const code = sign.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return code === 0x7f ? "␡" : `\\x${code.toString(16)}`;
  });
}

export function element(name, kind, text) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text !== undefined) made.textContent = text;
  return made;
}

const times = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
export const when = (text) => times.format(new Date(text));

export function chip(place, leaves = false) {
  const [sign, name] = PLACES[place];
  const made = element("span", "chip", `${sign} ${name}${leaves ? " · would leave" : ""}`);
  made.dataset.place = place;
  return made;
}

// -- tabs --------------------------------------------------------------------------------------

const tabs = [...document.querySelectorAll("[role=tab]")];

export function openTab(name, focus = false) {
  for (const tab of tabs) {
    const chosen = tab.getAttribute("aria-controls") === name;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    $(tab.getAttribute("aria-controls")).hidden = !chosen;
    if (chosen && focus) tab.focus();
  }
}

for (const [at, tab] of tabs.entries()) {
  tab.addEventListener("click", () => openTab(tab.getAttribute("aria-controls")));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const next = step ? tabs[(at + step + tabs.length) % tabs.length] : { Home: tabs[0], End: tabs.at(-1) }[event.key];
    if (!next) return;
    event.preventDefault();
    openTab(next.getAttribute("aria-controls"), true);
  });
}

// -- the preview -------------------------------------------------------------------------------

const LEAST = 64;

export class Preview {
  /** @param shown (places or null, columns or null, set of indices that would leave, words) */
  constructor(page, shown) {
    this.page = page;
    this.shown = shown;
    this.timer = null;
    this.running = null;
    this.asked = 0;
    $("size").addEventListener("input", () => this.changed());
    $("which").addEventListener("change", () => this.changed());
    $("try").addEventListener("submit", (event) => {
      event.preventDefault();
      this.replay();
    });
  }

  begin(policies, state) {
    this.stop();
    const seen = Math.max(state.seen ?? 0, state.budget * 4, 4 * LEAST);
    this.most = Math.log(seen / LEAST);
    $("which").replaceChildren(...policies.map((name) => {
      const option = element("option", "", name);
      option.value = name;
      return option;
    }));
    $("which").value = policies.includes(state.policy) ? state.policy : policies[0];
    $("size").value = Math.round((1000 * Math.log(state.budget / LEAST)) / this.most);
    this.own = state.budget;
    this.tell();
    $("dry").textContent = "";
    $("compared").hidden = true;
    $("progress").hidden = true;
  }

  get budget() {
    const exact = LEAST * Math.exp((this.most * $("size").value) / 1000);
    if (Math.abs(exact - this.own) < this.own * 0.01) return this.own;
    const round = 10 ** Math.max(0, Math.floor(Math.log10(exact)) - 1);
    return Math.round(exact / round) * round;
  }

  tell() {
    const told = `${number(this.budget)} tokens`;
    $("size-told").textContent = told;
    $("size").setAttribute("aria-valuetext", told);
  }

  changed() {
    this.tell();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.dryRun(), 120);
  }

  async dryRun() {
    const asked = ++this.asked;
    this.cancel();
    const wanted = { budget: this.budget, policy: $("which").value };
    let found;
    try {
      found = await post("preview", { id: this.page.id }, wanted);
    } catch (error) {
      if (asked === this.asked) $("dry").textContent = error.message;
      return;
    }
    if (asked !== this.asked) return;
    const leaving = new Set();
    for (const [start, count] of found.left) for (let at = 0; at < count; at++) leaving.add(start + at);
    const blocks = found.left.length === 1 ? "1 block" : `${number(found.left.length)} blocks`;
    const why = found.stood_in ? ` The sliding window decided in its place: ${found.stood_in}.` : "";
    $("dry").textContent = found.left.length
      ? `An eviction now would let ${blocks} go and keep ${number(found.kept)}: ${number(found.before)} → ${number(found.after)} tokens, decided in ${found.ms} ms.${why}`
      : `At an eviction now nothing would have to leave: ${number(found.before)} tokens in ${number(found.kept)} blocks fit.${why}`;
    $("compared").hidden = true;
    this.shown(null, null, leaving, `an eviction now, ${wanted.policy} at ${number(wanted.budget)} tokens`);
  }

  async replay() {
    ++this.asked;
    this.cancel();
    const wanted = { budget: this.budget, policy: $("which").value };
    const running = (this.running = new AbortController());
    const progress = $("progress");
    progress.hidden = false;
    progress.textContent = "Replaying …";
    $("dry").textContent = "";
    try {
      await stream("replay", { query: { id: this.page.id }, body: wanted, signal: running.signal }, (kind, data) => {
        if (kind === "progress") {
          progress.textContent = `Replaying: ${number(data.done)} of ${number(this.page.count)} messages`;
        } else if (kind === "failed") {
          progress.textContent = data.error;
        } else if (kind === "done") {
          progress.textContent = "";
          progress.hidden = true;
          this.compare(data, wanted);
        }
      });
    } catch (error) {
      if (!running.signal.aborted) progress.textContent = error.message;
    }
  }

  compare(result, wanted) {
    const own = this.page.turns;
    const full = this.page.fullTokens(result.turns.messages);
    const turns = { ...result.turns, full };
    const sum = (values) => values.reduce((a, b) => a + b, 0);
    const rows = [
      ["Tokens sent, all turns", (t) => number(sum(t.tokens))],
      ["Of the full history", (t) => (sum(t.full) ? share(sum(t.tokens) / sum(t.full)) : "–")],
      ["Stable prefix", (t) => (sum(t.tokens) ? share(sum(t.stable) / sum(t.tokens)) : "–")],
      ["Evictions", (t) => number(sum(t.evictions))],
      ["Blocks that left", (t) => number(sum(t.left))],
      ["Policy time", (t) => `${number(sum(t.policy_ms))} ms`],
    ];
    const table = element("table");
    const head = element("tr");
    for (const name of ["", "now", "preview"]) {
      const cell = element(name ? "th" : "td", "", name);
      if (name) cell.scope = "col";
      head.append(cell);
    }
    table.append(head);
    for (const [name, told] of rows) {
      const row = element("tr");
      const first = element("th", "", name);
      first.scope = "row";
      row.append(first, element("td", "", own.tokens.length ? told(own) : "–"), element("td", "", told(turns)));
      table.append(row);
    }
    $("compared").replaceChildren(table);
    $("compared").hidden = false;
    this.shown(result.places, turns, new Set(), `${wanted.policy} at ${number(wanted.budget)} tokens from the start`);
  }

  cancel() {
    this.running?.abort();
    this.running = null;
    $("progress").hidden = true;
  }

  stop() {
    ++this.asked;
    this.cancel();
    $("dry").textContent = "";
    $("compared").hidden = true;
    this.shown(null, null, new Set(), "");
  }
}

// -- the search --------------------------------------------------------------------------------

export function search(page, chosen) {
  $("ask").addEventListener("submit", async (event) => {
    event.preventDefault();
    const query = $("query").value;
    $("found").textContent = "Searching …";
    let hits;
    try {
      ({ hits } = await post("search", { id: page.id }, { query }));
    } catch (error) {
      $("found").textContent = error.message;
      $("hits").replaceChildren();
      return;
    }
    $("found").textContent = hits.length
      ? `${number(hits.length)} messages, the best first. The score is the sum of its parts.`
      : "Nothing in the archive matches.";
    const most = Math.max(1e-9, ...hits.flatMap((hit) => Object.values(hit.parts).map(Math.abs)));
    $("hits").replaceChildren(...hits.map((hit) => told(hit, page, most, chosen)));
  });
}

function told(hit, page, most, chosen) {
  const here = !hit.session || hit.session === page.id;
  const item = element("li");
  if (here) item.dataset.index = hit.index;
  const button = element("button");
  button.type = "button";
  button.disabled = !here;
  const top = element("span", "top");
  top.append(element("b", "", hit.role), element("span", "", here ? `#${hit.index}` : `#${hit.index} of session ${hit.session}`));
  top.append(element("span", "number", `score ${hit.score.toFixed(2)}`));
  const text = element("span", "text", plain(hit.text));
  text.dir = "auto";
  const parts = element("span", "parts");
  for (const [name, value] of Object.entries(hit.parts).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]))) {
    const bar = element("i", value < 0 ? "minus" : "");
    bar.style.width = `${(100 * Math.abs(value)) / most}%`;
    parts.append(element("span", "", name), bar, element("span", "", value.toFixed(2)));
  }
  button.append(top, text, parts);
  button.addEventListener("click", () => chosen(hit.index));
  item.append(button);
  return item;
}

// -- one message -------------------------------------------------------------------------------

export class OneMessage {
  constructor(page) {
    this.page = page;
    this.index = null;
    $("pin").addEventListener("click", () => this.act("pin", { pinned: page.placeOf(this.index) !== "P" }));
    $("forget").addEventListener("click", () => $("confirm").showModal());
    $("confirm").addEventListener("close", () => {
      if ($("confirm").returnValue === "forget") this.act("forget", {});
      $("confirm").returnValue = "";
    });
  }

  clear() {
    this.index = null;
    $("one").hidden = true;
    $("none").hidden = false;
  }

  async show(index) {
    this.index = index;
    let message;
    try {
      message = await get("message", { id: this.page.id, index });
    } catch (error) {
      message = { text: "", why: error.message };
    }
    if (this.index !== index) return;
    const place = this.page.placeOf(index);
    $("none").hidden = true;
    $("one").hidden = false;
    const title = document.querySelector("#one h2");
    title.dataset.place = place;
    const who = message.role ? (message.name ? `${message.role} ${plain(message.name)}` : message.role) : "Message";
    title.replaceChildren(chip(place), element("span", "", `${who} #${index}`));
    const facts = [];
    if (message.tokens !== undefined) facts.push(`${number(message.tokens)} tokens`);
    if (message.text) facts.push(`${number(message.text.length)} characters`);
    if (message.time) facts.push(when(message.time));
    document.querySelector("#one .why").textContent = [message.why, facts.join(", ")].filter(Boolean).join(" · ");
    document.querySelector("#one pre").textContent = plain(message.text);
    const change = this.page.can.includes("change") && place !== "F";
    $("pin").hidden = $("forget").hidden = !change;
    $("pin").textContent = place === "P" ? "Unpin" : "Pin";
    $("pin").disabled = message.role === "system" || message.role === "developer";
    $("pin").title = $("pin").disabled ? "Instructions always stay" : "";
  }

  async act(what, more) {
    try {
      await post(what, { id: this.page.id }, { index: this.index, ...more });
    } catch (error) {
      this.page.notice(error.message);
    }
  }
}
