// The page: an image in, boxes out. It talks to the same public routes as any other client.

const FLOOR = 0.05; // asked of the service; the slider hides boxes above it without a new request
const COLORS = 8; // classes c0 ... c7 of page.css
const CAMERA_SIDE = 1280; // pixels of a camera frame's long side at most

const $ = (id) => document.getElementById(id);

const state = {
  blob: null, // the encoded image that is shown
  name: "photo.jpg",
  answer: null, // the service's answer for it, down to FLOOR
  request: null, // AbortController of the request under way
  stream: null, // MediaStream of the camera
};

// ---------------------------------------------------------------- the service

function address(conf) {
  const url = new URL("v1/detect", document.baseURI);
  if ($("model").value) url.searchParams.set("model", $("model").value);
  url.searchParams.set("conf", conf);
  url.searchParams.set("iou", $("iou").value);
  return url;
}

function headers(more = {}) {
  return $("key").value ? { ...more, "X-API-Key": $("key").value } : more;
}

/** The answer's JSON, or an Error whose message can be shown. */
async function call(url, options = {}) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The service does not answer. Is it still running?");
  }
  if (response.ok) return response.json();
  if (response.status === 401 || response.status === 403) askForKey();
  throw new Error(await inWords(response));
}

async function inWords(response) {
  let problem = {};
  try {
    problem = await response.json();
  } catch { /* a proxy may answer with a page */ }
  const words = [problem.title, problem.detail].filter(Boolean).join(": ");
  const again = response.headers.get("Retry-After");
  return (words || `The service answered ${response.status}`) +
    (again ? `. Try again in ${again} s.` : "");
}

function askForKey() {
  $("key-row").hidden = false;
  $("key").focus();
}

async function loadModels() {
  const list = await call("v1/models", { headers: headers() });
  $("model").replaceChildren(...list.models.map((model) => new Option(model.name, model.name)));
  $("model").disabled = list.models.length < 2;
}

// ---------------------------------------------------------------- detecting

async function detect() {
  if (!state.blob) return;
  state.request?.abort(); // only the newest question matters
  const request = (state.request = new AbortController());
  $("view").classList.add("busy");
  if (!state.stream) say("Looking for objects …");
  const started = performance.now();
  try {
    const answer = await call(address(FLOOR), {
      method: "POST",
      body: state.blob,
      headers: headers({ "Content-Type": state.blob.type || "application/octet-stream" }),
      signal: request.signal,
    });
    state.answer = answer;
    fail("");
    show(performance.now() - started);
  } catch (error) {
    if (error.name === "AbortError") return;
    state.answer = null;
    show();
    fail(error.message);
  } finally {
    if (state.request === request) $("view").classList.remove("busy");
  }
}

const wanted = () =>
  state.answer.detections.filter((found) => found.score >= Number($("conf").value));

/** Draw what the score slider lets through. */
function show(milliseconds) {
  const found = state.answer ? wanted() : [];
  $("results").hidden = !state.answer;
  $("boxes").replaceChildren(...found.map(box).reverse()); // the best box ends on top
  $("rows").replaceChildren(...found.map(row));
  $("curl").textContent = state.answer ? curl() : "";
  if (!state.answer) return say("");
  const text = count(found);
  $("picture").alt = `The image, ${text}`;
  // Not for the camera: a screen reader would read every frame's time.
  const timed = milliseconds && !state.stream;
  say(text + (timed ? `, answered in ${Math.round(milliseconds)} ms` : ""));
}

function count(found) {
  if (!found.length) {
    const more = state.answer.detections.length;
    return "no objects" + (more ? ` with this score (${more} with lower ones)` : "");
  }
  const counts = new Map();
  for (const { name } of found) counts.set(name, (counts.get(name) ?? 0) + 1);
  const parts = [...counts].map(([name, n]) => `${n} ${name}`).join(", ");
  return `${found.length} object${found.length === 1 ? "" : "s"}: ${parts}`;
}

function box(found, index) {
  const { width, height } = state.answer.image;
  const { x1, y1, x2, y2 } = found.box;
  const element = document.createElement("div");
  element.className = `box c${found.class_id % COLORS}`;
  element.dataset.index = index;
  element.classList.toggle("low", y1 < 0.06 * height); // no room for the label above
  element.classList.toggle("right", x1 > 0.8 * width);
  element.style.left = `${(100 * x1) / width}%`;
  element.style.top = `${(100 * y1) / height}%`;
  element.style.width = `${(100 * (x2 - x1)) / width}%`;
  element.style.height = `${(100 * (y2 - y1)) / height}%`;
  const label = document.createElement("span");
  label.textContent = `${found.name} ${found.score.toFixed(2)}`;
  element.append(label);
  return element;
}

function row(found, index) {
  const element = document.createElement("tr");
  const dot = document.createElement("span");
  dot.className = `dot c${found.class_id % COLORS}`;
  const cells = [
    found.name,
    found.score.toFixed(3),
    Object.values(found.box).map((value) => Math.round(value)).join(", "),
  ].map((text) => Object.assign(document.createElement("td"), { textContent: text }));
  cells[0].prepend(dot);
  element.append(...cells);
  const light = (on) => () =>
    $("boxes").querySelector(`[data-index="${index}"]`)?.classList.toggle("lit", on);
  element.addEventListener("pointerenter", light(true));
  element.addEventListener("pointerleave", light(false));
  return element;
}

function curl() {
  const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const key = $("key").value ? ` -H "X-API-Key: $API_KEY"` : "";
  const type = state.blob.type || "application/octet-stream";
  return `curl --data-binary ${quote("@" + state.name)} -H ${quote("Content-Type: " + type)}` +
    `${key} ${quote(address($("conf").value).href)}`;
}

function say(text) {
  const sentence = text && text[0].toUpperCase() + text.slice(1);
  if ($("status").textContent !== sentence) $("status").textContent = sentence;
}

function fail(text) {
  $("error").textContent = text;
  $("error").hidden = !text;
}

// ---------------------------------------------------------------- ways in

function open(blob, name) {
  stopCamera();
  if (blob.type && !blob.type.startsWith("image/")) {
    return fail(`${name || "That"} is not an image (${blob.type}).`);
  }
  state.blob = blob;
  state.name = name || "photo.jpg";
  state.answer = null;
  show();
  fail("");
  URL.revokeObjectURL($("picture").src);
  $("picture").src = URL.createObjectURL(blob);
  reveal($("picture"));
  detect();
}

function reveal(element) {
  $("empty").hidden = true;
  $("view").hidden = false;
  $("picture").hidden = element !== $("picture");
  $("video").hidden = element !== $("video");
}

async function startCamera() {
  if (!navigator.mediaDevices) {
    return fail("The browser gives the camera only to pages over https or from localhost.");
  }
  try {
    state.stream = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "environment", width: { ideal: CAMERA_SIDE } },
    });
  } catch (error) {
    return fail(`The camera cannot be used: ${error.message || error.name}`);
  }
  fail("");
  $("camera").textContent = "Stop the camera";
  $("camera").ariaPressed = "true";
  state.answer = null;
  show();
  $("video").srcObject = state.stream;
  reveal($("video"));
  await $("video").play();
  followCamera(state.stream);
}

/** Frame after frame, each asked for when the one before is answered. */
async function followCamera(stream) {
  const video = $("video");
  const canvas = document.createElement("canvas");
  while (state.stream === stream) {
    const scale = Math.min(1, CAMERA_SIDE / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    state.blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.85));
    state.name = "frame.jpg";
    if (state.stream !== stream) return;
    await detect();
    if (!$("error").hidden) stopCamera(); // told once, not at every frame
    await new Promise(requestAnimationFrame); // a hidden tab rests
  }
}

function stopCamera() {
  if (!state.stream) return;
  state.request?.abort();
  for (const track of state.stream.getTracks()) track.stop();
  state.stream = null;
  $("video").srcObject = null;
  $("camera").textContent = "Use the camera";
  $("camera").ariaPressed = "false";
  if (state.blob) { // the last frame stays, with its boxes
    URL.revokeObjectURL($("picture").src);
    $("picture").src = URL.createObjectURL(state.blob);
    reveal($("picture"));
  }
}

async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "The browser does not allow it";
  }
  setTimeout(() => { button.textContent = before; }, 1500);
}

// ---------------------------------------------------------------- events

$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  if (file) open(file, file.name);
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
  const [file] = event.dataTransfer.files;
  if (file) open(file, file.name);
  else fail("That was not a file. Drag an image file onto the page.");
});
document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) open(file, file.name);
});

$("settings").addEventListener("submit", (event) => event.preventDefault());
$("conf").addEventListener("input", () => {
  $("conf-value").textContent = Number($("conf").value).toFixed(2);
  if (state.answer) show();
});
let pause = 0;
$("iou").addEventListener("input", () => {
  $("iou-value").textContent = Number($("iou").value).toFixed(2);
  clearTimeout(pause);
  pause = setTimeout(detect, 150); // a slider gives dozens of events
});
$("model").addEventListener("change", detect);
$("key").addEventListener("change", () => start().then(detect));

$("copy-curl").addEventListener("click", () => copy(curl(), $("copy-curl")));
$("copy-json").addEventListener("click", () =>
  copy(JSON.stringify({ ...state.answer, detections: wanted() }, null, 1), $("copy-json")));
$("picture").addEventListener("error", () => {
  if (state.answer) fail("This browser cannot show this kind of image; its objects are listed.");
});

async function start() {
  try {
    await loadModels();
    fail("");
  } catch (error) {
    fail(error.message);
  }
}
start();
