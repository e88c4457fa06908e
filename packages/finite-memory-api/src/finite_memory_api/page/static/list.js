// A virtual list of rows whose heights differ: only those in sight are in the document.
//
// Reading a measure after a change makes the browser lay out at once, so each pass reads first,
// changes, reads the heights of new rows once, and then only changes.

const MARGIN = 500; // pixels above and below that are rendered too
const PADDING = 6;

export class List {
  /**
   * @param box the scrolling element, with one child that is as tall as all rows
   * @param make (index) => element
   * @param fill (element, index) => void
   * @param guess (index) => pixels, for a row that was never rendered
   * @param scrolled (indices in sight, whether the end is) => void
   */
  constructor(box, { make, fill, guess, scrolled }) {
    Object.assign(this, { box, make, fill, guess, scrolled });
    this.spacer = box.firstElementChild;
    this.count = 0;
    this.only = null; // the indices that are shown, ascending; null for all up to count
    this.heights = new Float64Array(64); // measured, by index; 0 where it never was
    this.tops = new Float64Array(64); // by position
    this.total = 0;
    this.nodes = new Map(); // by index
    this.due = false;
    this.top = 0;
    this.width = box.clientWidth;
    this.height = box.clientHeight;
    box.addEventListener("scroll", () => this.schedule(), { passive: true });
    new ResizeObserver(() => {
      const end = this.atEnd;
      this.height = box.clientHeight;
      if (this.width !== box.clientWidth) {
        this.width = box.clientWidth;
        this.heights.fill(0);
        this.keeping(() => this.layOut());
      }
      if (end) this.toEnd();
      else this.schedule();
    }).observe(box);
  }

  get length() {
    return this.only ? this.only.length : this.count;
  }

  get atEnd() {
    return this.top + this.height >= this.total - 40;
  }

  index(position) {
    return this.only ? this.only[position] : position;
  }

  /** The position of an index; undefined where it is not shown. */
  position(index) {
    if (!this.only) return index < this.count ? index : undefined;
    let low = 0;
    let high = this.only.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (this.only[middle] === index) return middle;
      if (this.only[middle] < index) low = middle + 1;
      else high = middle - 1;
    }
    return undefined;
  }

  /** Show the rows up to `count`, or only some of them. */
  show(count, only = null) {
    const end = this.atEnd;
    const grown = !only && !this.only && count >= this.count;
    const from = grown ? this.count : 0;
    if (count > this.heights.length) {
      const heights = new Float64Array(2 * count);
      heights.set(this.heights);
      this.heights = heights;
    }
    const change = () => {
      this.count = count;
      this.only = only;
      this.layOut(from);
    };
    if (grown) change();
    else this.keeping(change);
    if (end) this.toEnd();
    else this.render();
  }

  /** Forget all heights, for other rows. */
  clear() {
    this.heights.fill(0);
    for (const node of this.nodes.values()) node.remove();
    this.nodes.clear();
    this.count = 0;
    this.only = null;
    this.layOut();
  }

  layOut(from = 0) {
    const count = this.length;
    if (count >= this.tops.length) {
      const tops = new Float64Array(2 * count + 2);
      tops.set(this.tops);
      this.tops = tops;
    }
    let top = from ? this.tops[from] : PADDING;
    for (let at = from; at < count; at++) {
      this.tops[at] = top;
      const index = this.index(at);
      top += this.heights[index] || this.guess(index);
    }
    this.tops[count] = top;
    this.total = top + PADDING;
    this.spacer.style.height = `${this.total}px`;
  }

  /** Do something, and let the row at the top of the view stay where it is. */
  keeping(change) {
    const at = this.at(this.top);
    const index = this.index(at);
    const offset = this.top - this.tops[at];
    change();
    const now = this.length && index !== undefined ? this.position(index) : undefined;
    if (now !== undefined && at > 0) this.scroll(this.tops[now] + offset);
  }

  scroll(top) {
    const wanted = Math.round(Math.max(0, Math.min(top, this.total - this.height)));
    if (wanted === Math.round(this.top)) return;
    this.top = wanted;
    this.box.scrollTop = wanted;
  }

  /** The position of the row that holds this pixel. */
  at(pixel) {
    let low = 0;
    let high = this.length - 1;
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
      this.top = this.box.scrollTop;
      this.render();
    });
  }

  /** Render what is in sight, measure what is new, and put all where it belongs. */
  render(end = false) {
    if (this.length) {
      for (let pass = 0; pass < 3; pass++) {
        if (end) this.scroll(this.total);
        if (!this.fillSight()) break;
      }
      this.place();
    }
    const first = this.at(this.top);
    const last = this.at(this.top + this.height);
    const sight = [];
    for (let at = first; at <= last && at < this.length; at++) sight.push(this.index(at));
    this.scrolled(sight, this.atEnd);
  }

  /** Return whether a height was not what it was taken for, so that more may be in sight. */
  fillSight() {
    const first = this.at(this.top - MARGIN);
    const last = this.at(this.top + this.height + MARGIN);
    for (const [index, node] of this.nodes) {
      const at = this.position(index);
      if ((at === undefined || at < first || at > last) && node !== document.activeElement) {
        node.remove();
        this.nodes.delete(index);
      }
    }
    const fresh = [];
    let before = null;
    for (let at = first; at <= last; at++) {
      const index = this.index(at);
      let node = this.nodes.get(index);
      if (!node) {
        node = this.make(index);
        this.fill(node, index);
        this.nodes.set(index, node);
        if (before) before.after(node);
        else this.spacer.prepend(node);
      }
      if (node.dataset.measured === undefined) fresh.push([index, node]);
      before = node;
    }
    let changed = false;
    for (const [index, node] of fresh) {
      const height = node.offsetHeight;
      if (this.heights[index] !== height) {
        this.heights[index] = height;
        changed = true;
      }
    }
    for (const [, node] of fresh) node.dataset.measured = "";
    if (changed) this.keeping(() => this.layOut(first));
    return changed;
  }

  place() {
    for (const [index, node] of this.nodes) {
      const at = this.position(index);
      if (at === undefined) continue;
      const top = this.tops[at];
      if (node.placed !== top) {
        node.placed = top;
        node.style.transform = `translateY(${top}px)`;
      }
      node.classList.toggle("first", at === 0);
    }
  }

  /** Fill rendered rows again, all or some. */
  refresh(indices) {
    for (const [index, node] of this.nodes) {
      if (indices && !indices.has(index)) continue;
      this.fill(node, index);
      delete node.dataset.measured;
    }
    this.schedule();
  }

  toEnd() {
    this.scroll(this.total);
    this.render(true);
  }

  /** Bring a row into sight, and return its element; null where it is not shown. */
  reveal(index, middle = false) {
    const at = this.position(index);
    if (at === undefined) return null;
    const top = this.tops[at];
    const bottom = this.tops[at + 1];
    if (middle) this.scroll(top - this.height / 3);
    else if (top < this.top) this.scroll(top - PADDING);
    else if (bottom > this.top + this.height) {
      this.scroll(Math.min(top - PADDING, bottom - this.height + PADDING));
    }
    this.render();
    return this.nodes.get(index) ?? null;
  }
}
