// Boxes over a picture, labels that do not cover each other, and zoom.

import { $ } from "./service.js";

const MOST = 8; // times the fitting size

let colors = [["#e69f00", "#000"]];
/** The colors of the SDK's drawings, by class id. */
export async function loadColors() {
  colors = await (await fetch("static/palette.json")).json();
}

export function paint(element, classId) {
  const [ground, ink] = colors[classId % colors.length];
  element.style.setProperty("--color", ground);
  element.style.setProperty("--ink", ink);
}

/** Draw detections, best first; `size` is that of the image in pixels. */
export function draw(found, { width, height }) {
  const boxes = found.map(({ box, class_id }, index) => {
    const element = document.createElement("div");
    element.className = "box";
    element.dataset.index = index;
    paint(element, class_id);
    element.style.left = `${(100 * box.x1) / width}%`;
    element.style.top = `${(100 * box.y1) / height}%`;
    element.style.width = `${(100 * (box.x2 - box.x1)) / width}%`;
    element.style.height = `${(100 * (box.y2 - box.y1)) / height}%`;
    return element;
  });
  const tags = found.map(({ name, score, class_id }) => {
    const element = document.createElement("span");
    element.className = "tag";
    paint(element, class_id);
    element.textContent = `${name} ${score.toFixed(2)}`;
    return element;
  });
  $("boxes").replaceChildren(...boxes.reverse(), ...[...tags].reverse()); // the best on top
  drawn = { found, tags, width, height };
  place();
}

let drawn = { found: [], tags: [] };

export function clear() {
  drawn = { found: [], tags: [] };
  $("boxes").replaceChildren();
}

/** Put each label, the best first, where it hides least of those before. */
function place() {
  const { found, tags, width, height } = drawn;
  if (!tags.length) return;
  const { clientWidth: wide, clientHeight: high } = $("boxes");
  const sizes = tags.map((tag) => [tag.offsetWidth, tag.offsetHeight]); // one layout for all
  const taken = [];
  tags.forEach((tag, i) => {
    const { x1, y1, x2, y2 } = found[i].box;
    const [w, h] = sizes[i];
    const box = [(x1 * wide) / width, (y1 * high) / height, (x2 * wide) / width, (y2 * high) / height];
    let best = Infinity;
    let chosen;
    for (const [left, top] of places(w, h, box)) {
      const x = Math.max(0, Math.min(left, wide - w));
      const y = Math.max(0, Math.min(top, high - h));
      let hidden = 0;
      for (const [a, b, c, d] of taken) {
        hidden += Math.max(0, Math.min(x + w, c) - Math.max(x, a)) *
          Math.max(0, Math.min(y + h, d) - Math.max(y, b));
      }
      if (hidden < best) [best, chosen] = [hidden, [x, y, x + w, y + h]];
      if (!hidden) break;
    }
    taken.push(chosen);
    tag.style.transform = `translate(${chosen[0]}px, ${chosen[1]}px)`;
  });
}

/** Corners of a label about a box: above, below, beside, inside, and further away. */
function* places(w, h, [x1, y1, x2, y2]) {
  if (y1 >= h) yield* [[x1, y1 - h], [x2 - w, y1 - h]];
  yield* [[x1, y2], [x2 - w, y2], [x2, y1], [x1 - w, y1], [x2, y2 - h], [x1 - w, y2 - h]];
  yield* [[x1, y1], [x2 - w, y1], [x1, y2 - h], [x2 - w, y2 - h]];
  const middle = (y1 + y2 - h) / 2;
  for (let step = 0; step <= 6; step++) {
    for (const y of [middle - step * h, middle + step * h]) {
      for (const x of [x1, x2 - w, x1 - w, x2, (x1 + x2 - w) / 2]) yield [x, y];
    }
  }
}

export const light = (index, on) =>
  $("boxes").querySelector(`[data-index="${index}"]`)?.classList.toggle("lit", on);

// ---------------------------------------------------------------- zoom

let zoom = 1;
let fitting = 0;

export function zoomBy(factor) {
  const figure = $("view");
  if (zoom === 1) fitting = figure.clientWidth;
  const frame = $("frame");
  const middle = [
    (frame.scrollLeft + frame.clientWidth / 2) / figure.clientWidth,
    (frame.scrollTop + frame.clientHeight / 2) / figure.clientHeight,
  ];
  zoom = factor ? Math.min(MOST, Math.max(1, zoom * factor)) : 1;
  figure.classList.toggle("zoomed", zoom > 1);
  figure.style.width = zoom > 1 ? `${fitting * zoom}px` : "";
  frame.scrollLeft = middle[0] * figure.clientWidth - frame.clientWidth / 2;
  frame.scrollTop = middle[1] * figure.clientHeight - frame.clientHeight / 2;
}

$("zoom-in").addEventListener("click", () => zoomBy(1.5));
$("zoom-out").addEventListener("click", () => zoomBy(1 / 1.5));
$("zoom-fit").addEventListener("click", () => zoomBy(0));
$("frame").addEventListener("keydown", (event) => {
  const factor = { "+": 1.5, "=": 1.5, "-": 1 / 1.5, 0: 0 }[event.key];
  if (factor === undefined || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  zoomBy(factor);
});
$("frame").addEventListener("wheel", (event) => {
  if (!event.ctrlKey) return; // the page scrolls
  event.preventDefault();
  zoomBy(event.deltaY < 0 ? 1.15 : 1 / 1.15);
}, { passive: false });
new ResizeObserver(place).observe($("boxes"));
