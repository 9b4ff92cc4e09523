// Prompts, settings, plots and timeline of the render that is shown.

const SERIES = 6;
const MOST_POINTS = 4000;
/** Settings of `terms` that a slider can change: their names, and the largest value of the slider. */
const TERMS = {
  total_variation: ["Smoothness", 2],
  range: ["Range", 100],
  saturation: ["Saturation", 2],
  mean: ["Brightness", 1],
  contrast: ["Contrast", 1],
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
  row.number = make("input", { type: "number", step: 0.05 });
  row.similarity = make("output", { className: "similarity", title: "Similarity of the picture to this prompt" });
  row.swatch = make("span", { className: "swatch", ariaHidden: "true" });
  row.remove = make("button", { type: "button", className: "quiet remove", textContent: "×" });
  row.element = make(
    "li",
    { className: "prompt" },
    make("div", { className: "prompt-top" }, row.swatch, row.text, row.remove),
    make("div", { className: "prompt-bottom" }, row.range, row.number, row.similarity),
  );
  row.text.oninput = () => (row.dirty = true);
  row.text.onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      row.text.blur();
    } else if (event.key === "Escape") {
      row.dirty = false;
      row.text.blur();
      showPrompts(state.prompts);
    }
  };
  row.text.onblur = () => {
    if (row.dirty) keep(row);
    else if (row.isNew) showPrompts(state.prompts);
  };
  row.range.oninput = () => (row.number.value = row.range.value);
  row.range.onchange = () => keep(row, Number(row.range.value));
  row.number.onchange = () => keep(row, Number(row.number.value));
  row.remove.onclick = () => {
    row.isRemoved = true;
    sendPrompts();
  };
  return row;
}

function keep(row, weight) {
  row.dirty = false;
  if (weight !== undefined && Number.isFinite(weight)) row.prompt = { ...row.prompt, weight };
  if (row.prompt.text !== undefined) row.prompt = { ...row.prompt, text: row.text.value.trim() };
  sendPrompts();
}

function sendPrompts() {
  const prompts = rows.filter((row) => !row.isRemoved && words(row.prompt)).map((row) => row.prompt);
  for (const row of rows) row.element.classList.add("pending");
  if (prompts.length === 0 || !send({ set_prompts: prompts })) showPrompts(state.prompts);
}

function showPrompts(prompts) {
  const list = byId("prompts");
  while (rows.length > prompts.length) rows.pop().element.remove();
  while (rows.length < prompts.length) {
    rows.push(newRow());
    list.append(rows.at(-1).element);
  }
  prompts.forEach((status, index) => {
    const row = rows[index];
    const isEdited = row.dirty || [row.range, row.number].includes(document.activeElement);
    row.isRemoved = row.isNew = false;
    row.element.classList.remove("pending");
    row.similarity.value = rounded(status.similarity);
    row.swatch.style.background = `var(--series-${index % SERIES})`;
    row.remove.disabled = prompts.length === 1 || state.ended;
    if (isEdited) return;
    row.prompt = status.prompt;
    const name = words(status.prompt);
    if (row.text.value !== name) row.text.value = name;
    row.text.readOnly = status.prompt.text === undefined || state.ended;
    const isPlain = typeof status.prompt.weight === "number" || status.prompt.weight === undefined;
    for (const input of [row.range, row.number]) {
      const weight = isPlain ? (status.prompt.weight ?? 1) : status.weight;
      if (input.value !== String(weight)) input.value = weight;
      input.disabled = !isPlain || state.ended;
      input.setAttribute("aria-label", `Weight of ${name}`);
    }
    row.text.setAttribute("aria-label", `Prompt ${index + 1}`);
    row.remove.setAttribute("aria-label", `Remove ${name}`);
  });
}

/** Adds an empty prompt to type into. */
export function addPrompt() {
  if (!state?.run || state.ended || rows.at(-1)?.isNew) return;
  const row = newRow();
  row.isNew = true;
  row.range.value = row.number.value = 1;
  row.text.setAttribute("aria-label", "New prompt");
  row.swatch.style.background = `var(--series-${rows.length % SERIES})`;
  rows.push(row);
  byId("prompts").append(row.element);
  row.text.focus();
}

const hasNewRow = () => rows.at(-1)?.isNew && document.activeElement === rows.at(-1).text;

// ---- settings

const sliders = new Map();

function slider(key, label, options, onKeep) {
  let found = sliders.get(key);
  if (!found) {
    const id = `slider-${key}`;
    const range = make("input", { type: "range", id, min: options.min ?? 0, max: options.max, step: options.step });
    const number = make("input", { type: "number", step: "any", min: 0 });
    number.setAttribute("aria-label", label);
    const toRange = options.toRange ?? ((value) => value);
    const fromRange = options.fromRange ?? ((value) => value);
    const title = make("label", { htmlFor: id, textContent: label });
    const element = make("div", { className: "slider" }, title, range, number);
    range.oninput = () => (number.value = rounded(fromRange(Number(range.value))));
    range.onchange = () => onKeep(Number(number.value));
    number.onchange = () => Number.isFinite(number.valueAsNumber) && onKeep(number.valueAsNumber);
    found = { element, range, number, toRange };
    sliders.set(key, found);
    byId("sliders").append(element);
  }
  return (value) => {
    found.range.disabled = found.number.disabled = state.ended;
    if ([found.range, found.number].includes(document.activeElement)) return;
    found.range.value = found.toRange(value);
    found.number.value = rounded(value);
  };
}

function showSliders() {
  // of equal length to both sides of 1
  const log = { min: -3, max: 3, step: 0.05, toRange: (value) => Math.log2(value), fromRange: (value) => 2 ** value };
  slider("lr", "Learning rate ×", log, (lr) => send({ lr }))(state.learning_rate);
  slider("fade", "Fade, steps", { max: 100, step: 1 }, (fade) => send({ fade: Math.round(fade) }))(state.fade);
  for (const [key, [label, max]] of Object.entries(TERMS)) {
    const value = state.terms[key];
    if (typeof value !== "number") {
      sliders.get(key)?.element.remove();
      sliders.delete(key);
      continue;
    }
    const onKeep = (changed) => send({ set_terms: { ...state.terms, [key]: changed } });
    slider(key, label, { max: Math.max(max, value), step: max / 100 }, onKeep)(value);
  }
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
  const end = Math.max(state?.steps ?? 0, measured.at(-1).step, first + 1);
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

function describe(edit) {
  const parts = [];
  if (edit.prompts) {
    const texts = edit.prompts.map((prompt) => words(prompt) + (prompt.weight === 1 || prompt.weight === undefined ? "" : ` × ${prompt.weight}`));
    parts.push(texts.join(", ") + (edit.fade ? `, over ${edit.fade} steps` : ""));
  }
  if (edit.terms) parts.push("settings of the picture");
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
      ...state.timeline.map((edit) => make("li", {}, make("span", { textContent: edit.step }), make("span", { textContent: describe(edit) }))),
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

/** Shows a state. */
export function show(fresh) {
  state = fresh;
  if (!state.run) return;
  byId("step").textContent = `${state.step} of ${state.steps} steps`;
  const speed = state.steps_per_second;
  const pace = speed === 0 ? "" : speed >= 1 ? `${rounded(speed, 1)} steps/s` : `${rounded(1 / speed, 1)} s/step`;
  const rest = state.ended ? "ended" : state.finished ? "finished" : state.paused ? "paused" : [pace, state.eta === null ? "" : `${time(state.eta)} left`].filter(Boolean).join(", ");
  byId("speed").textContent = [rest, state.device].filter(Boolean).join(" · ");
  byId("progress").value = state.steps ? state.step / state.steps : 0;
  const pause = byId("pause");
  pause.setAttribute("aria-pressed", state.paused);
  pause.textContent = state.paused ? "Go on" : "Pause";
  byId("cutouts").setAttribute("aria-pressed", state.view === "cutouts");
  for (const id of ["pause", "undo", "snapshot", "cutouts", "stop", "restart-image", "restart-scratch", "prompt-add"]) byId(id).disabled = state.ended;
  pause.disabled ||= state.finished;
  // a finished render is saved, and waits for edits
  byId("stop").textContent = state.finished ? "End" : "Stop";
  if (!hasNewRow()) showPrompts(state.prompts);
  showSliders();
  showTimeline();
}
new ResizeObserver(() => (isDrawn = false)).observe(byId("loss-plot"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => (isDrawn = false));
