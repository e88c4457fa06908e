// Small plots over turns, each with what it says in words.

import { colour, fitted } from "./strip.js";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export const number = (value) => whole.format(value);
export const share = (value) => `${(100 * value).toFixed(1)}%`;
const ms = (value) => (value >= 100 ? `${number(value)} ms` : `${value.toFixed(1)} ms`);
const dollars = (value) => `$${value < 0.1 ? value.toFixed(4) : value.toFixed(2)}`;

function summed(values) {
  let sum = 0;
  return values.map((value) => (sum += value));
}

/** What each plot shows of the turns' columns: its series, each with a colour, and a unit. */
const PLOTS = [
  {
    name: "Tokens in the context",
    unit: number,
    series: (t) => [{ label: "context", ink: "window", values: t.tokens }],
    line: (state) => state.budget,
    lineName: "budget",
  },
  {
    name: "Stable prefix",
    unit: share,
    most: 1,
    series: (t) => [
      { label: "of the context", ink: "recalled", values: t.tokens.map((n, i) => (n ? t.stable[i] / n : 0)) },
    ],
  },
  {
    name: "Cached share",
    unit: share,
    most: 1,
    nothing: "The backend does not report what its cache served.",
    series: (t) => [
      {
        label: "of the prompt, as reported",
        ink: "summary",
        values: t.input.map((n, i) => (n && t.cached[i] !== null ? t.cached[i] / n : null)),
      },
    ],
  },
  {
    name: "Cost against full history",
    unit: number,
    money: dollars,
    series: (t) => {
      const paid = t.full_cost.some((value) => value > 0);
      return paid
        ? [
            { label: "full history", ink: "archived", values: t.full_cost, dash: true },
            { label: "paid", ink: "window", values: t.cost },
          ]
        : [
            ...(t.full.includes(null) ? [] : [{ label: "full history", ink: "archived", values: summed(t.full), dash: true }]),
            { label: "tokens sent", ink: "window", values: summed(t.tokens) },
          ];
    },
  },
  {
    name: "Policy time",
    unit: ms,
    bars: true,
    series: (t) => [{ label: "deciding what leaves", ink: "pinned", values: t.policy_ms }],
  },
];

export class Plots {
  constructor(box) {
    this.figures = PLOTS.map((plot) => {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      const name = document.createElement("b");
      name.textContent = plot.name;
      const told = document.createElement("output");
      caption.append(name, told);
      const canvas = document.createElement("canvas");
      canvas.setAttribute("role", "img");
      const nothing = document.createElement("p");
      nothing.className = "nothing";
      nothing.textContent = plot.nothing ?? "No turn yet.";
      figure.append(caption, canvas, nothing);
      box.append(figure);
      const made = { plot, canvas, told, nothing, at: null };
      canvas.addEventListener("pointermove", (event) => {
        made.at = event.offsetX / canvas.clientWidth;
        this.drawOne(made);
      });
      canvas.addEventListener("pointerleave", () => {
        made.at = null;
        this.drawOne(made);
      });
      return made;
    });
    this.turns = null;
    this.other = null;
    this.state = {};
    this.due = false;
    new ResizeObserver(() => this.draw()).observe(box);
  }

  /** Show these turns, and with them, dashed, those of a preview. */
  show(turns, state, other = null) {
    this.turns = turns;
    this.state = state;
    this.other = other;
    this.draw();
  }

  draw() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      for (const made of this.figures) this.drawOne(made);
    });
  }

  drawOne({ plot, canvas, told, nothing, at }) {
    if (!this.turns) return;
    const series = plot.series(this.turns);
    const count = this.turns.tokens.length;
    const known = series.some((one) => one.values.some((value) => value !== null));
    const empty = !count || !known;
    canvas.hidden = empty;
    nothing.hidden = !empty;
    if (empty) {
      nothing.textContent = count ? (plot.nothing ?? "") : "No turn yet.";
      told.textContent = "";
      return;
    }
    const paid = plot.money && this.turns.full_cost.some((value) => value > 0);
    const unit = paid ? plot.money : plot.unit;
    const shown = at === null ? count - 1 : Math.min(count - 1, Math.max(0, Math.floor(at * count)));
    const where = at === null ? "" : `turn ${number(shown + 1)}: `;
    told.textContent = where + series
      .map((one) => `${one.values[shown] === null ? "–" : unit(one.values[shown])} ${one.label}`)
      .join(", ");
    canvas.setAttribute("aria-label", `${plot.name} over ${number(count)} turns; at the last, ${series
      .map((one) => `${one.label} ${one.values[count - 1] === null ? "unknown" : unit(one.values[count - 1])}`)
      .join(", ")}`);
    this.paint(canvas, plot, series, at === null ? null : shown, count);
  }

  paint(canvas, plot, series, pointed, count) {
    const { pen, width, height } = fitted(canvas);
    if (!width) return;
    const others = this.other ? plot.series(this.other) : [];
    const line = plot.line?.(this.state);
    const top = plot.most ?? Math.max(
      1e-9, line ?? 0, ...[...series, ...others].map((one) => one.values.reduce((a, b) => Math.max(a, b ?? 0), 0)),
    ) * 1.06;
    const y = (value) => height - 1 - (value / top) * (height - 6);
    if (line) {
      pen.strokeStyle = colour("soft");
      pen.setLineDash([2, 3]);
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(0, y(line));
      pen.lineTo(width, y(line));
      pen.stroke();
      pen.setLineDash([]);
      pen.fillStyle = colour("soft");
      pen.font = "11px system-ui, sans-serif";
      pen.fillText(plot.lineName, 2, y(line) + 12);
    }
    for (const one of series) trace(pen, one, count, width, y, plot.bars, height);
    for (const one of others.filter((each) => !each.dash)) {
      trace(pen, { ...one, dash: true, ink: "summary" }, one.values.length, width, y, false, height);
    }
    if (pointed !== null) {
      const x = ((pointed + 0.5) / count) * width;
      pen.strokeStyle = colour("soft");
      pen.lineWidth = 1;
      pen.beginPath();
      pen.moveTo(x, 0);
      pen.lineTo(x, height);
      pen.stroke();
    }
  }
}

/** Draw a series: where several turns share a pixel, the largest. */
function trace(pen, { values, ink, dash }, count, width, y, bars, height) {
  const columns = Math.min(count, Math.max(1, Math.floor(width)));
  const step = width / columns;
  pen.strokeStyle = pen.fillStyle = colour(ink);
  pen.lineWidth = 1.75;
  pen.setLineDash(dash ? [5, 3] : []);
  pen.beginPath();
  let drawing = false;
  let lone = null;
  for (let column = 0; column < columns; column++) {
    const from = Math.floor((column * count) / columns);
    const to = Math.max(from + 1, Math.floor(((column + 1) * count) / columns));
    let value = null;
    for (let at = from; at < to; at++) {
      if (values[at] !== null && values[at] !== undefined) value = Math.max(value ?? 0, values[at]);
    }
    const x = (column + 0.5) * step;
    if (value === null) {
      drawing = false;
    } else if (bars) {
      const wide = Math.max(1, Math.min(8, step - 1));
      pen.fillRect(x - wide / 2, y(value), wide, height - 1 - y(value));
    } else {
      if (drawing) pen.lineTo(x, y(value));
      else pen.moveTo(x, y(value));
      lone = drawing ? null : [x, y(value)];
      drawing = true;
    }
  }
  pen.stroke();
  pen.setLineDash([]);
  if (lone) {
    pen.beginPath();
    pen.arc(...lone, 2.5, 0, 7);
    pen.fill();
  }
}

const TABLE = [
  ["Turn", (t, i) => number(i + 1)],
  ["Context", (t, i) => number(t.tokens[i])],
  ["Stable", (t, i) => share(t.tokens[i] ? t.stable[i] / t.tokens[i] : 0)],
  ["Cached", (t, i) => (t.input[i] && t.cached[i] !== null ? share(t.cached[i] / t.input[i]) : "–")],
  ["Full", (t, i) => (t.full[i] === null ? "–" : number(t.full[i]))],
  ["Left", (t, i) => number(t.left[i])],
  ["Recalled", (t, i) => number(t.recalled[i])],
  ["Policy", (t, i) => ms(t.policy_ms[i])],
];

/** Write the last turns into a table. */
export function tabulate(table, turns) {
  const count = turns.tokens.length;
  const head = document.createElement("tr");
  for (const [name] of TABLE) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = name;
    head.append(cell);
  }
  const rows = [head];
  for (let at = count - 1; at >= Math.max(0, count - 20); at--) {
    const row = document.createElement("tr");
    for (const [, told] of TABLE) {
      const cell = document.createElement("td");
      cell.textContent = told(turns, at);
      row.append(cell);
    }
    rows.push(row);
  }
  table.replaceChildren(...rows);
}
