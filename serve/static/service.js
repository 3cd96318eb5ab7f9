// Questions to the service, over the same public routes as any other client's.

export const $ = (id) => document.getElementById(id);

const ANY = "application/octet-stream";

/** The address that detects with the page's settings. */
export function address(options = {}) {
  const url = new URL("v1/detect", document.baseURI);
  if ($("model").value) url.searchParams.set("model", $("model").value);
  if (!$("iou").disabled) url.searchParams.set("iou", $("iou").value);
  for (const [name, value] of Object.entries(options)) {
    for (const one of [value].flat()) url.searchParams.append(name, one);
  }
  return url;
}

const headers = (more = {}) => ($("key").value ? { ...more, "X-API-Key": $("key").value } : more);

/** The answer, or an Error whose message can be shown. */
export async function call(url, { type, ...options } = {}) {
  let response;
  try {
    const all = headers(type ? { "Content-Type": type } : {});
    response = await fetch(url, { ...options, headers: all });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The service does not answer. Is it still running?");
  }
  if (response.ok) return response;
  if (response.status === 401 || response.status === 403) {
    $("key-row").hidden = false;
    $("key").focus();
  }
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

export const post = (blob, options, signal) =>
  call(address(options), {
    method: "POST", body: blob, type: blob.type || ANY, signal,
  });

/** Fill the switcher; what each model is stands in its option and below. */
export async function loadModels() {
  const { models } = await (await call("v1/models")).json();
  const kept = $("model").value;
  $("model").replaceChildren(...models.map((model) => {
    const n = model.classes.length;
    return new Option(`${model.name} (${n} ${n === 1 ? "class" : "classes"})`, model.name);
  }));
  if (models.some((model) => model.name === kept)) $("model").value = kept;
  $("model").disabled = models.length < 2;
  const about = () => describe(models.find((model) => model.name === $("model").value));
  $("model").onchange = about; // page.js listens too, and asks again
  about();
}

function describe(model) {
  if (!model) return;
  $("iou").disabled = model.suppressed; // its graph has one of its own
  const [height, width] = model.size;
  const size = `${width} × ${height}${model.dynamic_size ? " or other sizes" : ""}`;
  const first = model.classes.slice(0, 12).join(", ");
  const more = model.classes.length - 12;
  $("model-about").textContent =
    `${size}, ${model.precision} by ${model.backend} on ${model.device}. Finds: ${first}` +
    (more > 0 ? ` and ${more} more.` : ".");
}

/** A curl line that gets the same answer. */
export function curl(name, type, options) {
  const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const key = $("key").value ? ` -H "X-API-Key: $API_KEY"` : "";
  return `curl --data-binary ${quote("@" + name)} -H ${quote("Content-Type: " + (type || ANY))}` +
    `${key} ${quote(address(options).href)}`;
}
