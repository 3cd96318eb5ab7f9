// The table of objects, the classes that can be hidden, and both in words.

import { $ } from "./service.js";
import { light, paint } from "./view.js";

/** "2 objects: 1 cat, 1 dog". */
export function inWords(answer, found) {
  if (!found.length) {
    const more = answer.detections.length;
    return "no objects" + (more ? ` with this score or class (${more} with others)` : "");
  }
  const counts = new Map();
  for (const { name } of found) counts.set(name, (counts.get(name) ?? 0) + 1);
  const parts = [...counts].map(([name, n]) => `${n} ${name}`).join(", ");
  return `${found.length} object${found.length === 1 ? "" : "s"}: ${parts}`;
}

export function row(found, index) {
  const element = document.createElement("tr");
  const dot = document.createElement("span");
  dot.className = "dot";
  paint(dot, found.class_id);
  const cells = [
    found.name,
    found.score.toFixed(3),
    Object.values(found.box).map((value) => Math.round(value)).join(", "),
  ].map((text) => Object.assign(document.createElement("td"), { textContent: text }));
  cells[0].prepend(dot);
  element.append(...cells);
  element.addEventListener("pointerenter", () => light(index, true));
  element.addEventListener("pointerleave", () => light(index, false));
  return element;
}

/** A box to tick for each class that was found; a hidden one is not ticked. */
export function listClasses(seen, hidden, changed) {
  const names = [...new Set([...seen, ...hidden])].sort();
  $("filter").hidden = !names.length;
  if ($("classes").dataset.names === names.join("\n")) return; // the focus stays where it is
  $("classes").dataset.names = names.join("\n");
  $("classes").replaceChildren(...names.map((name) => {
    const label = document.createElement("label");
    const tick = Object.assign(document.createElement("input"), { type: "checkbox", value: name });
    tick.checked = !hidden.has(name);
    tick.addEventListener("change", () => {
      if (tick.checked) hidden.delete(name);
      else hidden.add(name);
      changed();
    });
    label.append(tick, name);
    return label;
  }));
}
