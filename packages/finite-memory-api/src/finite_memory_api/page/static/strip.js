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

const colours = new Map(); // asking for one makes the browser compute styles
export function colour(name) {
  if (!colours.has(name)) {
    colours.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  }
  return colours.get(name);
}
export function forgetColours() {
  colours.clear();
}

/** Draw the places. */
export function drawStrip(canvas, places) {
  const { pen, width, height } = fitted(canvas);
  const count = places.length;
  if (!count || !width) return;
  const bars = Math.min(count, Math.floor(width));
  const step = width / bars;
  const gap = step > 4 ? 1 : 0;
  for (let bar = 0; bar < bars; bar++) {
    const from = Math.floor((bar * count) / bars);
    const to = Math.max(from + 1, Math.floor(((bar + 1) * count) / bars));
    let best = FIRST.length;
    for (let at = from; at < to; at++) best = Math.min(best, FIRST.indexOf(places[at]));
    const place = FIRST[best] ?? "?";
    const tall = HEIGHTS[place] * (height - 4);
    pen.fillStyle = colour(NAMES[place]);
    pen.fillRect(bar * step, height - 2 - tall, Math.max(1, step - gap), tall);
  }
}

/** Put a frame around the messages in sight. */
export function frame(box, sight, count) {
  const there = sight.length > 0 && count > 0;
  if (box.hidden === there) box.hidden = !there;
  if (!there) return;
  const from = (100 * sight[0]) / count;
  const to = (100 * (sight[sight.length - 1] + 1)) / count;
  box.style.left = `min(${from}%, 100% - 4px)`;
  box.style.width = `max(${to - from}%, 4px)`;
}
