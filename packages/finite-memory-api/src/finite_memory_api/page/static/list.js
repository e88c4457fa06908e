// A virtual list of rows whose heights differ: only those in sight are in the document.

const MARGIN = 500; // pixels above and below that are rendered too

export class List {
  /**
   * @param box the scrolling element, with one child that is as tall as all rows
   * @param make (index) => element
   * @param fill (element, index) => void
   * @param guess (index) => pixels, for a row that was never rendered
   */
  constructor(box, { make, fill, guess, scrolled }) {
    this.box = box;
    this.spacer = box.firstElementChild;
    this.make = make;
    this.fill = fill;
    this.guess = guess;
    this.scrolled = scrolled;
    this.shown = []; // the items, by position: their indices
    this.heights = new Map(); // measured, by index
    this.tops = new Float64Array(1);
    this.nodes = new Map(); // by index
    this.due = false;
    box.addEventListener("scroll", () => this.schedule(), { passive: true });
    this.width = box.clientWidth;
    new ResizeObserver(() => {
      if (this.width !== box.clientWidth) {
        this.width = box.clientWidth;
        this.heights.clear();
        this.keeping(() => this.layOut());
      }
      this.schedule();
    }).observe(box);
  }

  get atEnd() {
    return this.box.scrollTop + this.box.clientHeight >= this.total - 40;
  }

  get total() {
    return this.tops[this.shown.length];
  }

  /** Show these items, in this order. */
  show(indices) {
    const end = this.atEnd;
    this.keeping(() => {
      this.shown = indices;
      this.position = new Map(indices.map((index, at) => [index, at]));
      for (const [index, node] of this.nodes) {
        if (!this.position.has(index)) this.drop(index, node);
      }
      this.layOut();
    });
    if (end) this.toEnd();
    this.render();
  }

  drop(index, node) {
    node.remove();
    this.nodes.delete(index);
  }

  layOut() {
    const count = this.shown.length;
    const tops = new Float64Array(count + 1);
    let top = 6;
    for (let at = 0; at < count; at++) {
      tops[at] = top;
      const index = this.shown[at];
      top += this.heights.get(index) ?? this.guess(index);
    }
    tops[count] = top;
    this.tops = tops;
    this.spacer.style.height = `${top + 6}px`;
  }

  /** Do something, and let the row at the top of the view stay where it is. */
  keeping(change) {
    const at = this.at(this.box.scrollTop);
    const index = this.shown[at];
    const offset = this.box.scrollTop - (this.tops[at] ?? 0);
    change();
    const now = this.position?.get(index);
    if (now !== undefined && at > 0) this.box.scrollTop = this.tops[now] + offset;
  }

  /** The position of the row that holds this pixel. */
  at(pixel) {
    let low = 0;
    let high = this.shown.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.tops[middle] <= pixel) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  schedule() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.render();
    });
  }

  /** Render what is in sight, measure it, and put it where it belongs. */
  render() {
    if (!this.shown.length) {
      this.scrolled?.([]);
      return;
    }
    const end = this.atEnd;
    for (let pass = 0; pass < 3; pass++) {
      if (!this.fillSight()) break;
      if (end) this.box.scrollTop = this.total;
    }
    const top = this.box.scrollTop;
    const first = this.at(top);
    const last = this.at(top + this.box.clientHeight);
    this.scrolled?.(this.shown.slice(first, last + 1));
  }

  /** Return whether a height was not what it was taken for, so that more may be in sight. */
  fillSight() {
    const top = this.box.scrollTop;
    const first = this.at(top - MARGIN);
    const last = this.at(top + this.box.clientHeight + MARGIN);
    const wanted = new Set(this.shown.slice(first, last + 1));
    for (const [index, node] of this.nodes) {
      if (!wanted.has(index) && node !== document.activeElement) this.drop(index, node);
    }
    let before = null;
    for (const index of wanted) {
      let node = this.nodes.get(index);
      if (!node) {
        node = this.make(index);
        this.fill(node, index);
        this.nodes.set(index, node);
        if (before) before.after(node);
        else this.spacer.prepend(node);
      }
      before = node;
    }
    let changed = false;
    for (const index of wanted) {
      const height = this.nodes.get(index).offsetHeight;
      if (this.heights.get(index) !== height) {
        this.heights.set(index, height);
        changed = true;
      }
    }
    if (changed) this.keeping(() => this.layOut());
    for (const [index, node] of this.nodes) {
      const at = this.position.get(index);
      node.style.transform = `translateY(${this.tops[at]}px)`;
      node.classList.toggle("first", at === 0);
    }
    return changed;
  }

  /** Fill rendered rows again, all or some. */
  refresh(indices) {
    for (const [index, node] of this.nodes) {
      if (!indices || indices.has(index)) this.fill(node, index);
    }
    this.schedule();
  }

  toEnd() {
    this.box.scrollTop = this.total;
    this.render();
    this.box.scrollTop = this.total;
    this.render();
  }

  /** Bring a row into sight, and return its element; null where it is not shown. */
  reveal(index, where = "near") {
    const at = this.position?.get(index);
    if (at === undefined) return null;
    const { scrollTop, clientHeight } = this.box;
    const top = this.tops[at];
    const bottom = this.tops[at + 1];
    if (where === "middle") this.box.scrollTop = top - clientHeight / 3;
    else if (top < scrollTop) this.box.scrollTop = top - 6;
    else if (bottom > scrollTop + clientHeight) {
      this.box.scrollTop = Math.min(top - 6, bottom - clientHeight + 6);
    }
    this.render();
    return this.nodes.get(index) ?? null;
  }
}
