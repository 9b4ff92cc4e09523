// The page: what is shown when, messages, and keys.

import { call, connect, hasToken, keptDevice } from "/link.js";
import * as picture from "/picture.js";
import * as controls from "/controls.js";
import * as gallery from "/gallery.js";

const SHOWN_FOR = { info: 5000, warning: 9000, error: 12000 };
const MOST_MESSAGES = 4;
const byId = (id) => document.getElementById(id);

let state = null;
let send = () => false;
let isFirst = true;
let lastMessage = 0;

function notify(text, severity = "info") {
  const box = byId("messages");
  const item = document.createElement("div");
  item.className = `message ${severity}`;
  item.textContent = text;
  box.append(item);
  while (box.children.length > MOST_MESSAGES) box.firstChild.remove();
  setTimeout(() => item.remove(), SHOWN_FOR[severity]);
}

function show(told) {
  // a timeline is told when it has changed
  const fresh = { ...told, timeline: told.timeline ?? state?.timeline ?? [] };
  if (fresh.render !== state?.render) {
    picture.clear();
    controls.clearPlots();
  }
  state = fresh;
  const isOpen = state.run !== null;
  byId("studio").hidden = !isOpen;
  byId("composer").hidden = !state.queue;
  document.body.dataset.mode = isOpen ? "studio" : "empty";
  // while a picture is painted, the next one is typed below it
  const main = document.querySelector("main");
  if (isOpen && main.firstElementChild !== byId("studio")) main.prepend(byId("studio"));
  if (!isOpen && main.firstElementChild !== byId("composer")) main.prepend(byId("composer"));
  byId("compose-title").textContent = isOpen && !state.ended ? "What should it paint next?" : "What should it paint?";
  byId("compose-go").textContent = isOpen && !state.ended && !state.finished ? "Queue" : "Paint";
  showDevices();
  byId("run-name").textContent = state.run ?? "";
  const share = state.finished ? "finished" : `${Math.floor((100 * state.step) / Math.max(1, state.steps))} %`;
  document.title = isOpen ? `${share} · ${state.run} · Phantasia` : "Phantasia";
  controls.show(state);
  if (isFirst) {
    isFirst = false;
    if (!isOpen && state.queue) byId("compose-text").focus();
  }
}

/** Where several devices paint, which one's render is shown, and which one the next picture is for. */
function showDevices() {
  const { devices } = state;
  byId("device-pick").hidden = byId("compose-device-pick").hidden = devices.length < 2;
  if (byId("device").options.length === devices.length) return;
  byId("device").replaceChildren(...devices.map((name) => new Option(name)));
  byId("device").value = keptDevice() ?? devices[0];
  byId("compose-device").replaceChildren(new Option("any", ""), ...devices.map((name) => new Option(name)));
}

const LINKS = { open: "connected", lost: "not connected", refused: "the token is not valid any more" };
// a reload takes a moment, too
const LOST_AFTER = 1500;
let lostTimer;

function start() {
  const connection = connect({
    state: show,
    metrics: ({ render, steps }) => render === state?.render && controls.measure(steps),
    message: ({ number, text, severity }) => {
      // after a reconnection the last one comes again; what is told to this page alone has no number
      if (number !== 0 && number <= lastMessage) return;
      lastMessage = Math.max(lastMessage, number);
      notify(text, severity);
      // what was refused is not in the render
      if (severity === "error") controls.reset();
    },
    runs: gallery.refresh,
    picture: (head, blob) => {
      if (head.render !== state?.render) return;
      const what = head.view === "cutouts" ? "The cutouts that CLIP sees" : state.prompts.map(({ prompt }) => controls.words(prompt)).join(", ");
      picture.draw(head, blob, `${what}, after ${head.step} steps`);
    },
    status: (name) => {
      byId("link").dataset.state = name === "refused" ? "lost" : name;
      byId("link-text").textContent = LINKS[name];
      clearTimeout(lostTimer);
      const showLost = (isLost) => {
        byId("lost").hidden = !isLost;
        document.body.classList.toggle("is-lost", isLost);
      };
      if (name === "lost") lostTimer = setTimeout(() => showLost(true), LOST_AFTER);
      else showLost(false);
      if (name === "refused") lock();
      if (name === "open") gallery.refresh();
    },
  });
  send = (request) => {
    const isSent = connection.send(request);
    if (!isSent) notify("That was not sent: the program does not answer.", "error");
    return isSent;
  };
  byId("device").onchange = () => {
    // renders of another device have numbers of their own
    [state, lastMessage] = [null, 0];
    picture.clear();
    controls.clear();
    connection.show(byId("device").value);
  };
  controls.begin(send);
  gallery.begin((text) => notify(text, "error"));
  const frame = () => {
    controls.drawPlots();
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

function lock() {
  for (const id of ["studio", "composer", "gallery", "queue"]) byId(id).hidden = true;
  byId("locked").hidden = false;
}

const pause = () => send({ pause: !state.paused });
const cutouts = () => send({ show: state.view === "cutouts" ? "image" : "cutouts" });
const restart = (from) => {
  byId("restart").open = false;
  send({ restart: from });
};

byId("pause").onclick = pause;
byId("undo").onclick = () => send({ undo: true });
byId("snapshot").onclick = () => send({ snapshot: true });
byId("cutouts").onclick = cutouts;
byId("stop").onclick = () => send({ stop: true });
byId("restart-image").onclick = () => restart("image");
byId("restart-scratch").onclick = () => restart("scratch");
byId("prompt-add").onclick = controls.addPrompt;
byId("help-open").onclick = () => byId("help").showModal();

byId("compose").onsubmit = async (event) => {
  event.preventDefault();
  const text = byId("compose-text").value.trim();
  if (text === "") return;
  const seed = byId("compose-seed").value;
  const what = {
    prompt: text,
    steps: byId("compose-steps").valueAsNumber || 200,
    seed: seed === "" ? Math.floor(Math.random() * 2 ** 32) : Number(seed),
    ...(byId("compose-device").value && { device: byId("compose-device").value }),
    set: [`size=${byId("compose-width").value || 256}x${byId("compose-height").value || 256}`],
  };
  const button = byId("compose-go");
  button.disabled = true;
  if (await gallery.order(what)) {
    byId("compose-text").value = "";
    if (state.run && !state.ended && !state.finished) notify("It is in the queue.");
  }
  button.disabled = false;
};
byId("compose-text").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    byId("compose").requestSubmit();
  }
};

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches?.("input:not([type=range]), select, textarea");
  if (isTyping || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.ctrlKey || event.metaKey) return;
  // buttons and sliders have keys of their own
  if (event.key === " " && event.target.matches?.("button, summary, a")) return;
  if (event.key === "h" || event.key === "H" || event.key === "?") return byId("help").showModal();
  if (!state?.run || state.ended) return;
  const keys = {
    " ": () => state.finished || pause(),
    s: () => send({ snapshot: true }),
    r: () => restart("image"),
    R: () => restart("scratch"),
    z: () => send({ undo: true }),
    v: cutouts,
    n: controls.addPrompt,
    "+": () => controls.scaleRate(1.25),
    "=": () => controls.scaleRate(1.25),
    "-": () => controls.scaleRate(0.8),
    f: () => controls.changeFade(5),
    F: () => controls.changeFade(-5),
    0: picture.fit,
    q: () => send({ stop: true }),
  };
  if (!(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});
byId("view").addEventListener("keydown", (event) => {
  if (!event.ctrlKey || !["+", "=", "-"].includes(event.key)) return;
  event.preventDefault();
  picture.zoom(event.key === "-" ? 0.8 : 1.25);
});
document.addEventListener("click", (event) => {
  if (!byId("restart").contains(event.target)) byId("restart").open = false;
});

if (hasToken) start();
else lock();
