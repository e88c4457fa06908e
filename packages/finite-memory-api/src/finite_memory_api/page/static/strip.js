// All messages at a glance: a bar each, whose height and colour tell where it is now.

const HEIGHTS = { P: 1, W: 0.78, R: 0.62, S: 0.42, A: 0.24, F: 0.1, "?": 0.24 };
const NAMES = { P: "pinned", W: "window", R: "recalled", S: "summary", A: "archived", F: "forgotten", "?": "archived" };
const FIRST = "PRWSFA?"; // where several share a pixel, the first of these is drawn

/** Fit a canvas to its place on the screen, and return its context and size in CSS pixels. */
export function fitted(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  return { pen, width, height };
}

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Draw the places, and a frame around those in sight. */
export function drawStrip(canvas, places, sight) {
  const { pen, width, height } = fitted(canvas);
  const count = places.length;
  if (!count || !width) return;
  const bars = Math.min(count, Math.floor(width));
  const step = width / bars;
  const gap = step > 4 ? 1 : 0;
  const colours = Object.fromEntries(Object.entries(NAMES).map(([k, name]) => [k, colour(name)]));
  for (let bar = 0; bar < bars; bar++) {
    const from = Math.floor((bar * count) / bars);
    const to = Math.max(from + 1, Math.floor(((bar + 1) * count) / bars));
    let best = FIRST.length;
    for (let at = from; at < to; at++) best = Math.min(best, FIRST.indexOf(places[at]));
    const place = FIRST[best] ?? "?";
    const tall = HEIGHTS[place] * (height - 4);
    pen.fillStyle = colours[place];
    pen.fillRect(bar * step, height - 2 - tall, Math.max(1, step - gap), tall);
  }
  if (sight && sight.length) {
    const from = (sight[0] / count) * width;
    const to = ((sight[sight.length - 1] + 1) / count) * width;
    pen.strokeStyle = colour("ink");
    pen.lineWidth = 1.5;
    pen.strokeRect(Math.max(0.75, from), 0.75, Math.max(4, Math.min(to, width - 0.75) - from), height - 1.5);
  }
}
