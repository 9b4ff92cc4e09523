// The queue, and the runs of the folder.

import { address, call } from "/link.js";

const byId = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const STATES = { waiting: "waits", running: "paints now", open: "finished", done: "done", stopped: "stopped", failed: "failed", cancelled: "cancelled" };
const REFRESH = 10000;

let complain = () => {};
let hasQueue = false;
let painted = [];
let isAsking = false;

/** Shows errors with this function from here on. */
export function begin(report) {
  complain = report;
}

/** Adds a render to the queue. */
export async function order(what) {
  try {
    await call("POST", "/api/runs", what);
    return true;
  } catch (error) {
    complain(error.message);
    return false;
  }
}

const isPainted = ({ state }) => state === "running" || state === "open";
const file = (run, name, parameters) => address(`/api/runs/${encodeURIComponent(run.name)}/${name}`, parameters);

/** Reads the queue and the runs again. */
export async function refresh() {
  if (isAsking) return;
  isAsking = true;
  try {
    const { queue, runs } = await call("GET", "/api/runs");
    hasQueue = queue !== null;
    painted = (queue ?? []).filter(isPainted).map(({ run }) => run);
    showJobs(queue ?? []);
    showRuns(runs);
  } catch {
    // the connection's own state tells that the program does not answer
  } finally {
    isAsking = false;
  }
}
setInterval(() => document.visibilityState === "visible" && refresh(), REFRESH);

function showJobs(jobs) {
  // what is over stands among the pictures; what failed is nowhere else
  const open = jobs.filter(({ state }) => ["waiting", "running", "open"].includes(state));
  const failed = jobs.filter(({ state }) => state === "failed").slice(-3);
  const shown = [...open, ...failed];
  const hasDevices = new Set(jobs.map(({ device }) => device).filter(Boolean)).size > 1;
  byId("queue").hidden = shown.length === 0;
  byId("jobs").replaceChildren(
    ...shown.map((job) => {
      const item = make("li", {}, make("span", { className: "job-title", textContent: job.title, title: job.title }), make("span", { className: "job-state", textContent: [STATES[job.state], hasDevices && job.device].filter(Boolean).join(" · ") }));
      item.dataset.state = job.state;
      if (job.state !== "failed") {
        const cancel = make("button", { type: "button", className: "quiet", textContent: { running: "Stop", open: "End" }[job.state] ?? "Cancel" });
        cancel.setAttribute("aria-label", `${cancel.textContent} ${job.title}`);
        cancel.onclick = () => call("DELETE", `/api/runs/${job.id}`).catch((error) => complain(error.message));
        item.append(cancel);
      }
      if (job.error) item.append(make("p", { className: "job-error", textContent: job.error }));
      return item;
    }),
  );
}

let listed = "";

function showRuns(runs) {
  const text = JSON.stringify(runs);
  byId("gallery").hidden = runs.length === 0;
  if (text === listed) return;
  listed = text;
  byId("runs").replaceChildren(
    ...runs.map((run) => {
      const title = run.prompts.join(", ") || run.name;
      const open = make("button", { type: "button" });
      open.setAttribute("aria-label", `Open ${run.name}: ${title}`);
      open.onclick = () => view(run, title);
      if (run.picture) open.append(make("img", { src: file(run, "thumbnail.jpg", { v: run.modified }), alt: "", loading: "lazy", decoding: "async" }));
      else open.append("no picture yet");
      const steps = run.steps > run.step ? `${run.step} of ${run.steps}` : `${run.step} steps`;
      return make("li", { className: "run" }, open, make("p", { className: "run-text", textContent: title, title }), make("p", { className: "run-facts", textContent: `${steps} · ${run.name}` }));
    }),
  );
}

function view(run, title) {
  byId("viewer-title").textContent = title;
  const image = byId("viewer-image");
  image.hidden = !run.picture;
  if (run.picture) image.src = file(run, "image.png", { v: run.modified });
  image.alt = title;
  const facts = [run.name, run.size && `${run.size[0]} × ${run.size[1]}`, `${run.step} of ${run.steps ?? "?"} steps`, run.seed !== null && `seed ${run.seed}`, run.stopped && "stopped"];
  byId("viewer-facts").textContent = facts.filter(Boolean).join(" · ");
  const actions = byId("viewer-actions");
  actions.replaceChildren();
  const act = (label, what) => {
    const button = make("button", { type: "button", textContent: label });
    button.onclick = async () => {
      if (await order(what())) byId("viewer").close();
    };
    actions.append(button);
  };
  if (hasQueue) {
    const isWhole = run.step >= run.steps;
    if (run.checkpoint && !painted.includes(run.name)) act(isWhole ? "Continue for 100 steps" : "Resume", () => ({ resume: run.name, ...(isWhole && { steps: run.step + 100 }) }));
    act("Render again", () => ({ again: run.name }));
    act("With another seed", () => ({ again: run.name, seed: Math.floor(Math.random() * 2 ** 32) }));
  }
  const download = (label, name) => actions.append(make("a", { href: file(run, name, { download: 1 }), textContent: label, download: "" }));
  if (run.picture) download("PNG with its recipe", "image.png");
  download("Recipe", "recipe.yaml");
  if (run.video) download("Video", run.video);
  byId("viewer").showModal();
}
