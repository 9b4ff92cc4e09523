// Prompts, settings, plots and timeline of the render that is shown.

import { outline } from "/picture.js";

const SERIES = 6;
const MOST_POINTS = 4000;
/** Names of `terms`, and the largest value of their sliders; others are called as in a recipe. */
const TERMS = {
  total_variation: ["Smoothness", 2],
  range: ["Range", 100],
  saturation: ["Saturation", 2],
  mean: ["Brightness", 1],
  contrast: ["Contrast", 1],
  aesthetic: ["Beauty", 2],
};
/** The parts of the picture that have a name, and where they are. */
const REGIONS = {
  left: ["left half", [0, 0, 0.5, 1]],
  right: ["right half", [0.5, 0, 0.5, 1]],
  top: ["upper half", [0, 0, 1, 0.5]],
  bottom: ["lower half", [0, 0.5, 1, 0.5]],
  center: ["middle", [0.25, 0.25, 0.5, 0.5]],
};

const byId = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const color = (index) => getComputedStyle(document.documentElement).getPropertyValue(`--series-${index % SERIES}`).trim();
const rounded = (value, digits = 3) => (value === null || value === undefined ? "–" : Number(value.toFixed(digits)).toString());

/** The words of a prompt. */
export function words(prompt) {
  if (prompt.text) return prompt.text;
  if (prompt.keyframes) return prompt.keyframes.map((frame) => frame.text ?? frame).join(" → ");
  return prompt.image ? `picture ${String(prompt.image).split("/").pop()}` : "";
}

/** The value that is meant by what was typed: a number, an expression, JSON, or nothing. */
function typed(text) {
  const plain = text.trim();
  if (plain === "") return null;
  if (Number.isFinite(Number(plain))) return Number(plain);
  try {
    return JSON.parse(plain);
  } catch {
    return plain;
  }
}

/** A value as it is typed. */
function written(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return rounded(value);
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Makes Enter keep what was typed in a field, and Escape drop it. */
function typing(field, drop) {
  field.onkeydown = (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      field.blur();
    } else if (event.key === "Escape") {
      drop();
      field.blur();
    }
  };
}

let state = null;
let send = () => false;

/** Sends requests with this function from here on. */
export function begin(sender) {
  send = sender;
}

// ---- prompts

const rows = [];

function newRow() {
  const row = { prompt: { text: "", weight: 1 }, dirty: false };
  row.text = make("textarea", { rows: 1, maxLength: 4000, spellcheck: true, placeholder: "what the picture should show" });
  row.range = make("input", { type: "range", min: -1, max: 2, step: 0.05 });
  row.weight = make("input", { type: "text", autocomplete: "off", spellcheck: false, title: "A number, or an expression such as 1 - t" });
  row.similarity = make("output", { className: "similarity", title: "Similarity of the picture to this prompt" });
  row.swatch = make("span", { className: "swatch", ariaHidden: "true" });
  row.remove = make("button", { type: "button", className: "quiet remove", textContent: "×" });
  row.facts = make("summary");
  row.more = make("details", { className: "more" }, row.facts, ...newParts(row));
  row.element = make(
    "li",
    { className: "prompt" },
    make("div", { className: "prompt-top" }, row.swatch, row.text, row.remove),
    make("div", { className: "prompt-bottom" }, row.range, row.weight, row.similarity),
    row.more,
  );
  // where a prompt is about is seen in the picture while it is looked at
  const place = () => (Array.isArray(row.prompt.region) ? row.prompt.region : (REGIONS[row.prompt.region]?.[1] ?? null));
  row.element.onpointerenter = () => outline(place());
  row.element.onpointerleave = () => outline(null);
  row.element.addEventListener("focusin", () => outline(place()));
  row.element.addEventListener("focusout", () => outline(null));
  row.text.oninput = () => (row.dirty = true);
  typing(row.text, () => {
    row.dirty = false;
    reset();
  });
  row.text.onblur = () => {
    if (row.dirty) keep(row, row.prompt.text === undefined ? {} : { text: row.text.value.trim() });
    else if (row.isNew) showPrompts(state.prompts);
  };
  row.range.oninput = () => (row.weight.value = row.range.value);
  row.range.onchange = () => keep(row, { weight: Number(row.range.value) });
  typing(row.weight, reset);
  row.weight.onchange = () => {
    const weight = typed(row.weight.value);
    if (weight === null) reset();
    else keep(row, { weight });
  };
  row.remove.onclick = () => {
    row.isRemoved = true;
    sendPrompts();
  };
  return row;
}

/** The fields of what else a prompt has: its region, and when it counts. */
function newParts(row) {
  const field = (label, name, properties) => {
    const input = make("input", { type: "text", autocomplete: "off", ...properties });
    input.onchange = () => keep(row, { [name]: typed(input.value) ?? undefined });
    typing(input, reset);
    return { name, input, element: make("label", {}, label, input) };
  };
  row.region = make("select", {}, new Option("whole picture", ""), ...Object.entries(REGIONS).map(([value, [name]]) => new Option(name, value)), new Option("rectangle", "rectangle"));
  row.region.onchange = () => {
    const { value } = row.region;
    if (value !== "file") keep(row, { region: value === "rectangle" ? [0.25, 0.25, 0.5, 0.5] : value || undefined });
  };
  row.sides = ["Left", "Top", "Width", "Height"].map((label) => {
    const input = make("input", { type: "number", min: 0, max: 1, step: 0.05 });
    input.onchange = () => keep(row, { region: row.sides.map((side) => side.valueAsNumber || 0) });
    input.setAttribute("aria-label", `${label} of the region, as a share of the picture`);
    input.title = label;
    return input;
  });
  row.rectangle = make("div", { className: "rectangle" }, ...row.sides);
  row.fields = [field("From", "from", { placeholder: "start" }), field("Until", "until", { placeholder: "end" }), field("Fade", "fade", { placeholder: "none" })];
  row.others = make("p", { className: "hint" });
  return [make("label", {}, "Region", row.region), row.rectangle, make("div", { className: "times" }, ...row.fields.map(({ element }) => element)), row.others];
}

function showParts(row) {
  const { region, from, until, fade, stop, source, keyframes } = row.prompt;
  const isFile = typeof region === "string" && !(region in REGIONS);
  if (isFile !== Boolean(row.file)) {
    if (isFile) row.region.append((row.file = new Option("", "file")));
    else row.file = row.file.remove();
  }
  if (isFile) row.file.textContent = `where ${region.split("/").pop()} is white`;
  row.region.value = Array.isArray(region) ? "rectangle" : isFile ? "file" : (region ?? "");
  row.rectangle.hidden = !Array.isArray(region);
  row.sides.forEach((side, index) => (side.value = Array.isArray(region) ? region[index] : ""));
  for (const { name, input } of row.fields) input.value = written(row.prompt[name]);
  for (const input of [row.region, ...row.sides, ...row.fields.map(({ input }) => input)]) input.disabled = state.ended;
  const others = [source && `instead of “${source}”`, stop !== undefined && `no effect below a distance of ${stop}`];
  row.others.textContent = others.filter(Boolean).join("; ");
  row.others.hidden = row.others.textContent === "";
  const where = Array.isArray(region) ? `rectangle ${region.map((side) => rounded(side, 2)).join(", ")}` : row.region.selectedOptions[0]?.textContent;
  const facts = [where, from !== undefined && `from ${from}`, until !== undefined && `until ${until}`, fade !== undefined && `fade ${fade}`, keyframes && `${keyframes.length} texts in turn`, ...others];
  row.facts.textContent = facts.filter(Boolean).join(" · ");
}

/** Sends the prompts with a changed one; what is undefined is left out of it. */
function keep(row, changes) {
  row.dirty = false;
  const before = JSON.stringify(row.prompt);
  row.prompt = { ...row.prompt, ...changes };
  if (JSON.stringify(row.prompt) === before) reset();
  else sendPrompts();
}

/** Shows what the render has, instead of what was typed and not kept. */
export function reset() {
  if (!state?.run) return;
  showPrompts(state.prompts, true);
  showSettings(true);
}

function sendPrompts() {
  const prompts = rows.filter((row) => !row.isRemoved && words(row.prompt)).map((row) => row.prompt);
  for (const row of rows) row.element.classList.add("pending");
  if (prompts.length === 0 || !send({ set_prompts: prompts })) showPrompts(state.prompts);
}

function showPrompts(prompts, isReset = false) {
  const list = byId("prompts");
  while (rows.length > prompts.length) rows.pop().element.remove();
  while (rows.length < prompts.length) {
    rows.push(newRow());
    list.append(rows.at(-1).element);
  }
  prompts.forEach((status, index) => {
    const row = rows[index];
    const isEdited = !isReset && (row.dirty || [row.range, row.weight].includes(document.activeElement) || row.more.contains(document.activeElement) && document.activeElement !== row.facts);
    row.isRemoved = row.isNew = false;
    row.element.classList.remove("pending");
    row.similarity.value = rounded(status.similarity);
    row.swatch.style.background = `var(--series-${index % SERIES})`;
    row.remove.disabled = prompts.length === 1 || state.ended;
    if (isEdited) return;
    const shown = JSON.stringify([status.prompt, state.ended]);
    if (row.shown === shown && !isReset) return;
    row.shown = shown;
    row.prompt = status.prompt;
    const name = words(status.prompt);
    if (row.text.value !== name) row.text.value = name;
    row.text.readOnly = status.prompt.text === undefined || state.ended;
    const weight = status.prompt.weight ?? 1;
    // an expression has no place on a slider
    row.range.hidden = typeof weight !== "number";
    if (!row.range.hidden) row.range.value = weight;
    row.weight.value = written(weight);
    row.range.disabled = row.weight.disabled = state.ended;
    row.range.setAttribute("aria-label", `Weight of ${name}`);
    row.weight.setAttribute("aria-label", `Weight of ${name}, a number or an expression`);
    row.text.setAttribute("aria-label", `Prompt ${index + 1}`);
    row.remove.setAttribute("aria-label", `Remove ${name}`);
    showParts(row);
  });
  byId("prompt-count").textContent = prompts.length > 3 ? String(prompts.length) : "";
}

/** Adds an empty prompt to type into. */
export function addPrompt() {
  if (!state?.run || state.ended || rows.at(-1)?.isNew) return;
  const row = newRow();
  row.isNew = true;
  row.range.value = row.weight.value = 1;
  showParts(row);
  row.text.setAttribute("aria-label", "New prompt");
  row.swatch.style.background = `var(--series-${rows.length % SERIES})`;
  rows.push(row);
  byId("prompts").append(row.element);
  row.element.scrollIntoView({ block: "nearest" });
  row.text.focus();
}

const hasNewRow = () => rows.at(-1)?.isNew && document.activeElement === rows.at(-1).text;

// ---- settings

const settings = new Map();

/** A setting with a slider, where it has a number, and a field that takes whatever it can be. */
function setting(place, key, label, options, onKeep) {
  const id = `setting-${key}`;
  const range = make("input", { type: "range", min: options.min ?? 0, max: options.max, step: options.step });
  const field = make("input", { type: "text", id, autocomplete: "off", spellcheck: false, placeholder: "not set" });
  const toRange = options.toRange ?? ((value) => value);
  const fromRange = options.fromRange ?? ((value) => value);
  range.setAttribute("aria-label", label);
  const facts = make("p", { className: "hint facts" });
  const element = make("div", { className: "slider" }, make("label", { htmlFor: id, textContent: label, title: options.title ?? label }), range, field, facts);
  range.oninput = () => (field.value = rounded(fromRange(Number(range.value))));
  range.onchange = () => onKeep(typed(field.value));
  typing(field, reset);
  field.onchange = () => onKeep(typed(field.value));
  let shown;
  const show = (value, more = "", isReset = false) => {
    const fresh = JSON.stringify([value, more, state.ended]);
    if (!isReset && (shown === fresh || [range, field].includes(document.activeElement))) return;
    shown = fresh;
    range.disabled = field.disabled = state.ended;
    range.hidden = typeof value !== "number";
    if (!range.hidden) {
      range.max = Math.max(options.max, toRange(value));
      range.value = toRange(value);
    }
    field.value = written(value);
    facts.textContent = more;
    facts.hidden = more === "";
  };
  byId(place).append(element);
  const made = { element, show, place };
  settings.set(key, made);
  return made;
}

function showSettings(isReset = false) {
  // of equal length to both sides of 1
  const log = { min: -3, max: 3, step: 0.05, toRange: (value) => Math.log2(value), fromRange: (value) => 2 ** value };
  const plain = (key, label, options) => settings.get(key) ?? setting("sliders", key, label, options, (value) => (value === null ? reset() : send({ [key]: value })));
  plain("lr", "Learning rate ×", log).show(state.learning_rate, "", isReset);
  plain("fade", "Fade, steps", { max: 100, step: 1 }).show(state.fade, "", isReset);
  const off = [];
  for (const [key, value] of Object.entries(state.terms)) {
    const [label, max] = term(key);
    // a term of several parts is shown by its weight; the parts stay as they are
    const parts = value !== null && typeof value === "object" && !Array.isArray(value) && "weight" in value ? value : null;
    const { weight, ...rest } = parts ?? { weight: value };
    const place = value === null ? "terms-off" : "sliders";
    let found = settings.get(key);
    if (found && found.place !== place) {
      // in the order of the recipe's terms
      const [next] = Object.keys(state.terms).slice(Object.keys(state.terms).indexOf(key) + 1).filter((other) => settings.get(other)?.place === place);
      found.place = place;
      byId(place).insertBefore(found.element, next ? settings.get(next).element : null);
    }
    found ??= setting(place, key, label, { max, step: max / 100, title: `${label} (${key})` }, (changed) => {
      const now = state.terms[key];
      const keepsParts = now !== null && typeof now === "object" && "weight" in now && ["number", "string"].includes(typeof changed);
      send({ set_terms: { ...state.terms, [key]: keepsParts ? { ...now, weight: changed } : changed } });
    });
    const facts = Object.entries(rest).map(([name, part]) => `${name.replaceAll("_", " ")} ${written(part)}`);
    found.show(weight ?? null, parts ? facts.join(" · ") : "", isReset);
    if (value === null) off.push(label);
  }
  byId("off").hidden = off.length === 0;
  byId("off-names").textContent = `Not set: ${off.join(", ")}`;
}

/** Multiplies the learning rate, as + and − do. */
export function scaleRate(factor) {
  if (state?.run) send({ lr: Math.min(1e6, state.learning_rate * factor) });
}

/** Lengthens or shortens the fade of edits. */
export function changeFade(by) {
  if (state?.run) send({ fade: Math.max(0, state.fade + by) });
}

// ---- plots

let measured = [];
let labels = [];
let isDrawn = true;

/** Begins the plots anew. */
export function clearPlots() {
  measured = [];
  isDrawn = false;
}

/** Adds measurements of steps. */
export function measure(steps) {
  // after a reconnection the same ones come again; after an undo of a restart none is taken back
  const last = measured.at(-1)?.step ?? 0;
  measured.push(...steps.filter((step) => step.step > last));
  if (measured.length > MOST_POINTS) measured = measured.filter((_, index) => index % 2 === 1);
  isDrawn = false;
}

function plot(canvas, series) {
  const ratio = devicePixelRatio;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (width === 0) return;
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const values = series.flatMap(({ points }) => points.map(([, y]) => y));
  if (values.length === 0) return;
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (high - low < 1e-6) [low, high] = [low - 0.01, high + 0.01];
  const first = measured[0].step;
  const end = Math.max(measured.at(-1).step, first + 20);
  const x = (step) => 8 + ((width - 16) * (step - first)) / (end - first);
  const y = (value) => height - 8 - ((height - 16) * (value - low)) / (high - low);
  context.lineJoin = "round";
  context.lineWidth = 1.6;
  for (const { points, stroke } of series) {
    context.strokeStyle = context.fillStyle = stroke;
    context.beginPath();
    for (const [step, value] of points) context.lineTo(x(step), y(value));
    context.stroke();
    if (points.length) {
      context.beginPath();
      context.arc(x(points.at(-1)[0]), y(points.at(-1)[1]), 2.6, 0, 7);
      context.fill();
    }
  }
}

/** Draws the plots, if anything has changed. */
export function drawPlots() {
  if (isDrawn) return;
  isDrawn = true;
  const last = measured.at(-1);
  const losses = measured.filter(({ loss }) => loss !== null).map(({ step, loss }) => [step, loss]);
  byId("loss-now").value = rounded(last?.loss, 4);
  byId("loss-plot").setAttribute("aria-label", last ? `Loss, now ${rounded(last.loss, 4)} at step ${last.step}` : "Loss");
  plot(byId("loss-plot"), [{ points: losses, stroke: color(0) }]);
  // present prompts first, in their order and colours
  const present = state?.prompts.map(({ prompt }) => words(prompt)) ?? [];
  const known = new Set(last ? Object.keys(last.similarity) : []);
  labels = [...present.filter((label) => known.delete(label)), ...known];
  const series = labels.map((label, index) => ({
    points: measured.filter(({ similarity }) => label in similarity).map(({ step, similarity }) => [step, similarity[label]]),
    stroke: color(index),
  }));
  plot(byId("similarity-plot"), series);
  const now = labels.map((label) => `${label} ${rounded(last.similarity[label])}`);
  byId("similarity-plot").setAttribute("aria-label", `Similarity: ${now.join("; ") || "none yet"}`);
  byId("legend").replaceChildren(
    ...labels.map((label, index) => {
      const swatch = make("span", { className: "swatch" });
      swatch.style.background = `var(--series-${index % SERIES})`;
      return make("li", {}, swatch, make("span", { textContent: label, title: label }), make("span", { textContent: rounded(last.similarity[label]) }));
    }),
  );
}

// ---- timeline

/** The name of a term, and the largest value of its slider. */
const term = (key) => TERMS[key] ?? [key.replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase()), 2];

/** What an edit of terms changes, as far as it is known what they were before. */
function changedTerms(terms, before) {
  const weight = (value) => value?.weight ?? value ?? 0;
  const changed = Object.entries(terms).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(before ? before[key] : 0) && (before || weight(value) !== 0));
  const named = changed.map(([key, value]) => `${term(key)[0]} ${written(weight(value)) || "not set"}`);
  return named.join(", ") || "settings of the picture";
}

function describe(edit, before) {
  const parts = [];
  if (edit.prompts) {
    const texts = edit.prompts.map((prompt) => words(prompt) + (prompt.weight === 1 || prompt.weight === undefined ? "" : ` × ${prompt.weight}`));
    parts.push(texts.join(", ") + (edit.fade ? `, over ${edit.fade} steps` : ""));
  }
  if (edit.terms) parts.push(changedTerms(edit.terms, before));
  if (edit.lr !== undefined) parts.push(`learning rate × ${rounded(edit.lr)}`);
  if (edit.restart) parts.push({ image: "begins again from its picture", scratch: "begins again from scratch", undo: "takes the restart back" }[edit.restart]);
  if (edit.steps) parts.push(`${edit.steps} steps`);
  if (edit.stop) parts.push("stopped");
  return parts.join("; ");
}

let listed = "";

function showTimeline() {
  const text = JSON.stringify(state.timeline);
  byId("timeline-empty").hidden = state.timeline.length > 0;
  if (text !== listed) {
    listed = text;
    byId("timeline").replaceChildren(
      ...state.timeline.map((edit, index) => {
        const before = state.timeline.slice(0, index).findLast(({ terms }) => terms)?.terms;
        return make("li", {}, make("span", { textContent: edit.step }), make("span", { textContent: describe(edit, before) }));
      }),
    );
    byId("timeline").scrollTop = byId("timeline").scrollHeight;
  }
  [...byId("timeline").children].forEach((item, index) => item.classList.toggle("ahead", state.timeline[index].step > state.step));
}

// ---- all of it

function time(seconds) {
  if (seconds === null) return "";
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** Forgets the render that is shown. */
export function clear() {
  state = null;
  clearPlots();
}

/** Shows a state. */
export function show(fresh) {
  state = fresh;
  if (!state.run) return;
  byId("step").textContent = `${state.step} of ${state.steps} steps`;
  const speed = state.steps_per_second;
  const pace = speed === 0 ? "" : speed >= 1 ? `${rounded(speed, 1)} steps/s` : `${rounded(1 / speed, 1)} s/step`;
  const rest = state.ended ? ["ended"] : state.finished ? ["finished"] : state.paused ? ["paused"] : [pace, state.eta === null ? "" : `${time(state.eta)} left`];
  const parts = [...rest, state.device].filter(Boolean);
  byId("speed").replaceChildren(...parts.flatMap((part, index) => [index ? " · " : "", make("span", { textContent: part })]));
  const more = state.finished && !state.ended && state.extension ? `Saved. A change continues it for ${state.extension} steps.` : state.ended ? "Saved. It is among the pictures below." : "";
  byId("outcome").textContent = more;
  byId("outcome").hidden = more === "";
  byId("progress").value = state.steps ? state.step / state.steps : 0;
  const pause = byId("pause");
  pause.setAttribute("aria-pressed", state.paused);
  pause.textContent = state.paused ? "Go on" : "Pause";
  byId("cutouts").setAttribute("aria-pressed", state.view === "cutouts");
  for (const id of ["pause", "undo", "snapshot", "cutouts", "stop", "restart-image", "restart-scratch", "prompt-add"]) byId(id).disabled = state.ended;
  pause.disabled ||= state.finished;
  byId("undo").disabled ||= state.timeline.length === 0;
  // a finished render is saved, and waits for edits
  byId("stop").textContent = state.finished ? "End" : "Stop";
  if (!hasNewRow()) showPrompts(state.prompts);
  showSettings();
  showTimeline();
}
new ResizeObserver(() => (isDrawn = false)).observe(byId("loss-plot"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (isDrawn = false));
