// The page: images, videos and the camera in, boxes out.

import { $, call, curl, loadModels, post } from "./service.js";
import { clear, draw, loadColors, zoomBy } from "./view.js";
import { copy, csv, json, save, yolo } from "./files.js";
import { inWords, listClasses, row } from "./results.js";
import { follow } from "./video.js";

const FLOOR = 0.05; // asked of the service; the slider hides boxes above it without a new request
const AT_ONCE = 2; // requests for images that are not shown
const MOST = 200; // opened at once: each holds its file in memory
const SHOWN_LATER = /\.(heic|heif|tiff?)$/i; // images whose type browsers leave open
const EXAMPLES = {
  dog: "a dog", horses: "horses", chelsea: "a cat", person: "a person", astronaut: "an astronaut",
};

/* Each thing that was opened: {name, blob, url, kind: "image" | "video" | "camera", answer, error,
   asked: the settings that it was last asked with, ms, seen: classes, thumb: its button in the strip}. A
   video's blob is the frame that was asked about last. */
const state = {
  items: [],
  current: null,
  hidden: new Set(), // names of classes that are not shown
  stream: null, // MediaStream of the camera
};

// ---------------------------------------------------------------- detecting

/** The settings that an answer depends on. */
const question = () => `${$("model").value} ${$("iou").value} ${$("key").value}`;

async function detect(item) {
  item.request?.abort(); // only the newest question matters
  const request = (item.request = new AbortController());
  item.asked = question();
  if (item === state.current && item.kind === "image") waiting();
  const started = performance.now();
  try {
    const response = await post(item.blob, { conf: FLOOR }, request.signal);
    Object.assign(item, { answer: await response.json(), error: "" });
    item.ms = performance.now() - started;
    see(item);
  } catch (error) {
    if (error.name === "AbortError") return;
    Object.assign(item, { answer: null, error: error.message });
  }
  if (item.request !== request) return;
  item.request = null;
  mark(item);
  if (item === state.current) show();
}

/** Ask about everything that waits, a few at a time and what is shown first. */
let running = 0;
function work() {
  const waits = (item) => item?.kind === "image" && !item.refused && item.asked !== question();
  if (waits(state.current)) detect(state.current);
  while (running < AT_ONCE) {
    const next = state.items.find(waits);
    if (!next) return;
    running += 1;
    detect(next).finally(() => {
      running -= 1;
      work();
    });
  }
}

const least = () => Number($("conf").value);

/** Note the classes that a filter can be set for. */
function see(item) {
  for (const { name, score } of item.answer?.detections ?? []) {
    if (score >= least()) item.seen.add(name);
  }
}

const wanted = ({ answer }) => answer.detections.filter(
  ({ name, score }) => score >= least() && !state.hidden.has(name));

/** The answer as it is shown, for files and programs. */
const shown = (item) => ({ ...item.answer, detections: wanted(item) });

/** Query parameters that give what is shown. */
function options(item) {
  if (!state.hidden.size) return { conf: least() };
  const names = new Map(item.answer.detections.map(({ name, class_id }) => [name, class_id]));
  const kept = [...names].filter(([name]) => !state.hidden.has(name));
  if (!kept.length) return { conf: 1 };
  return { conf: least(), classes: kept.map(([name, id]) => (name.includes(",") ? id : name)) };
}

// ---------------------------------------------------------------- showing

function waiting() {
  $("view").classList.add("busy");
  say("Looking for objects …");
}
/** Everything about the current item: picture, boxes, rows, words. */
function show() {
  const item = state.current;
  const answer = item?.answer;
  $("results").hidden = $("tools").hidden = !answer;
  $("view").classList.remove("busy");
  $("view").hidden = !item || Boolean(item.error);
  $("empty").hidden = Boolean(item);
  fail(item?.error ?? "");
  listClasses(item?.seen ?? [], state.hidden, refresh);
  if (!answer) {
    clear();
    $("rows").replaceChildren();
    $("curl").textContent = "";
    return item?.request ? waiting() : say("");
  }
  const found = wanted(item);
  draw(found, answer.image);
  $("rows").replaceChildren(...found.map(row));
  $("curl").textContent = curl(item.file ?? item.name, item.blob.type, options(item));
  const text = inWords(item.answer, found);
  $("picture").alt = `The image, ${text}`;
  if (item.request && item.kind === "image") return waiting();
  // Not of a video: a screen reader would read every frame's time.
  say(text + (item.kind === "image" ? `, answered in ${Math.round(item.ms)} ms` : ""));
}

function say(text) {
  const sentence = text && text[0].toUpperCase() + text.slice(1);
  if ($("status").textContent !== sentence) $("status").textContent = sentence;
}

function fail(text) {
  $("error").textContent = text;
  $("error").hidden = !text;
}

// ---------------------------------------------------------------- the strip

function mark(item) {
  if (!item.thumb) return;
  const words = item.error ? "not usable" : item.answer ? inWords(item.answer, wanted(item)) : "waiting";
  item.thumb.setAttribute("aria-label", `${item.name}: ${words}`);
  item.thumb.title = item.error || item.name;
  item.thumb.classList.toggle("bad", Boolean(item.error));
  const badge = item.thumb.querySelector(".badge");
  badge.textContent = item.error ? "!" : item.answer ? wanted(item).length : "";
}

function addThumb(item) {
  const button = Object.assign(document.createElement("button"), { type: "button" });
  const badge = Object.assign(document.createElement("span"), { className: "badge" });
  const face = Object.assign(document.createElement(item.kind === "image" && item.url ? "img" : "span"),
    { className: "face" });
  if (face.tagName === "IMG") Object.assign(face, { src: item.url, alt: "" });
  else face.textContent = item.kind === "video" ? "▶" : "✕";
  button.append(face, badge);
  button.addEventListener("click", () => select(item));
  item.thumb = button;
  const entry = document.createElement("li");
  entry.append(button);
  $("strip").append(entry);
  $("opened").hidden = false;
  mark(item);
}

function select(item) {
  if (item.error && !item.refused) item.asked = null; // choosing it again is another try
  if (state.current?.kind === "camera") stopCamera();
  $("video").pause();
  state.current = item;
  for (const other of state.items) other.thumb.ariaCurrent = String(other === item);
  item.thumb.scrollIntoView({ block: "nearest", inline: "nearest" });
  $("rate").textContent = "";
  zoomBy(0);
  if (item.kind === "video") {
    $("video").srcObject = null;
    $("video").src = item.url;
    $("video").controls = true;
  } else if (item.url) {
    $("picture").src = item.url;
  }
  reveal(item.kind === "image" ? $("picture") : $("video"));
  work();
  show();
  if (item.kind === "video" && !item.error) play(item);
}

function reveal(element) {
  $("picture").hidden = element !== $("picture");
  $("video").hidden = element !== $("video");
}

$("strip").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const next = state.items[state.items.indexOf(state.current) + step];
  if (!next) return;
  event.preventDefault();
  select(next);
  next.thumb.focus();
});

$("clear").addEventListener("click", () => {
  for (const item of state.items) {
    item.request?.abort();
    if (item.url) URL.revokeObjectURL(item.url);
  }
  $("video").pause();
  Object.assign(state, { items: [], current: null });
  state.hidden.clear();
  $("strip").replaceChildren();
  $("opened").hidden = true;
  show();
  $("choose").focus();
});

// ---------------------------------------------------------------- ways in

function open(files) {
  let first = null;
  for (const file of files) {
    if (state.items.length >= MOST) {
      fail(`At most ${MOST} files are open at once; close some.`);
      break;
    }
    const name = file.name || "photo.jpg";
    const video = file.type.startsWith("video/");
    const image = !file.type || file.type.startsWith("image/") || SHOWN_LATER.test(name);
    const item = {
      name, blob: file, kind: video ? "video" : "image", answer: null, error: "", seen: new Set(),
      url: video || image ? URL.createObjectURL(file) : "",
    };
    if (!video && !image) {
      item.error = `${name} is not an image (${file.type}).`;
      item.refused = true;
    }
    state.items.push(item);
    addThumb(item);
    first ??= item;
  }
  if (first) select(first);
  work();
}

/** An image that the browser cannot show (HEIC, TIFF): the service makes a JPEG of it. */
$("picture").addEventListener("error", async () => {
  const item = state.current;
  if (!item || item.kind !== "image" || item.refused || item.preview) return;
  item.preview = true;
  try {
    const picture = await (await post(item.blob, { conf: 1, format: "image" })).blob();
    URL.revokeObjectURL(item.url);
    item.url = URL.createObjectURL(picture);
    const face = item.thumb.querySelector("img");
    if (face) face.src = item.url;
    if (state.current === item) $("picture").src = item.url;
  } catch {
    if (item.answer) say("This browser cannot show this kind of image; its objects are listed.");
  }
});

$("examples").append(...Object.entries(EXAMPLES).map(([name, what]) => {
  const button = Object.assign(document.createElement("button"), { type: "button" });
  const image = Object.assign(document.createElement("img"), {
    src: `static/${name}.jpg`, alt: `Photograph of ${what}`, className: "face", loading: "lazy",
  });
  button.append(image);
  button.addEventListener("click", async () => {
    const blob = await (await call(image.src)).blob();
    open([new File([blob], `${name}.jpg`, { type: "image/jpeg" })]);
  });
  return button;
}));

// ---------------------------------------------------------------- video and camera

const video = $("video");

async function play(item) {
  try {
    await video.play();
  } catch (error) {
    if (error.name === "AbortError" || state.current !== item) return; // another was chosen
    item.error = `This browser cannot play ${item.name}; it plays MP4 (H.264) and WebM.`;
    mark(item);
    return show();
  }
  watch(item);
}

/** Boxes over what moves, until something else is shown. */
async function watch(item) {
  item.file = "frame.jpg";
  await follow(video, () => state.current === item, async (frame) => {
    item.blob = frame;
    await detect(item);
    if (item.error) stopCamera(); // said once, not at every frame
    return !item.error;
  });
}

async function startCamera() {
  if (!navigator.mediaDevices) {
    return fail("The browser gives the camera only to pages over https or from localhost.");
  }
  try {
    state.stream = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "environment", width: { ideal: 1280 } },
    });
  } catch (error) {
    return fail(`The camera cannot be used: ${error.message || error.name}`);
  }
  $("camera").textContent = "Stop the camera";
  $("camera").ariaPressed = "true";
  const item = { name: "camera", kind: "camera", answer: null, error: "", seen: new Set() };
  state.current = item;
  for (const other of state.items) other.thumb.ariaCurrent = "false";
  video.controls = false;
  video.srcObject = state.stream;
  zoomBy(0);
  reveal(video);
  show();
  await video.play();
  watch(item);
}

/** The last frame stays, as an image among the others. */
function stopCamera() {
  if (!state.stream) return;
  const item = state.current;
  item.request?.abort();
  for (const track of state.stream.getTracks()) track.stop();
  state.stream = video.srcObject = null;
  $("camera").textContent = "Use the camera";
  $("camera").ariaPressed = "false";
  state.current = null;
  if (item.blob && !item.error) open([new File([item.blob], "frame.jpg", { type: "image/jpeg" })]);
}

// ---------------------------------------------------------------- events

$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  open([...$("file").files]);
  $("file").value = ""; // the same file again is a change too
});
$("camera").addEventListener("click", () => (state.stream ? stopCamera() : startCamera()));

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("frame").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("frame").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("frame").classList.remove("over");
  if (event.dataTransfer.files.length) open([...event.dataTransfer.files]);
  else fail("That was not a file. Drag image files onto the page.");
});
document.addEventListener("paste", (event) => open([...event.clipboardData.files]));

$("settings").addEventListener("submit", (event) => event.preventDefault());
function refresh() {
  state.items.forEach(mark);
  if (state.current?.answer) show();
}
$("conf").addEventListener("input", () => {
  $("conf-value").textContent = least().toFixed(2);
  state.items.forEach(see);
  refresh();
});
let pause = 0;
$("iou").addEventListener("input", () => {
  $("iou-value").textContent = Number($("iou").value).toFixed(2);
  clearTimeout(pause);
  pause = setTimeout(work, 150); // a slider gives dozens of events
});
$("model").addEventListener("change", () => {
  state.hidden.clear();
  for (const item of state.items) item.seen.clear();
  work();
});
$("key").addEventListener("change", () => start().then(work));

const stem = () => state.current.name.replace(/\.[^.]*$/, "");
const saving = (id, suffix, form, type) => $(id).addEventListener("click", () =>
  save(`${stem()}${suffix}`, form(shown(state.current)), type));
saving("save-json", ".json", json, "application/json");
saving("save-csv", ".csv", csv, "text/csv");
saving("save-yolo", ".txt", yolo, "text/plain");
$("copy-curl").addEventListener("click", () => copy($("curl").textContent, $("copy-curl")));
$("copy-json").addEventListener("click", () => copy(json(shown(state.current)), $("copy-json")));
$("save-picture").addEventListener("click", () => // drawn by the service, as the SDK does it
  post(state.current.blob, { ...options(state.current), format: "image" })
    .then(async (response) => save(`${stem()}-boxes.jpg`, await response.blob()))
    .catch((error) => fail(error.message)));

const start = () => Promise.all([loadModels(), loadColors()])
  .then(() => fail(""), (error) => fail(error.message));
start();
