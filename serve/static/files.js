// What is shown, as files for other programs: the forms are those of the SDK.

export function save(name, content, type) {
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "The browser does not allow it";
  }
  setTimeout(() => { button.textContent = before; }, 1500);
}

export const json = (answer) => JSON.stringify(answer, null, 1);

/** A row for each box: corners in pixels of the image. */
export function csv({ detections }) {
  const quote = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = detections.map(({ name, class_id, score, box }) =>
    [quote(name), class_id, score, box.x1, box.y1, box.x2, box.y2].join(","));
  return ["name,class_id,score,x1,y1,x2,y2", ...lines].join("\r\n") + "\r\n";
}

/** Class id, centre and size as fractions of the image, score. */
export function yolo({ image: { width, height }, detections }) {
  return detections.map(({ class_id, score, box: { x1, y1, x2, y2 } }) => {
    const values = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width,
      (y2 - y1) / height, score];
    return `${class_id} ${values.map((value) => value.toFixed(6)).join(" ")}\n`;
  }).join("");
}
