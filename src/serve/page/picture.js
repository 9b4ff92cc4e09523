// The picture: drawn as it comes, zoomed and moved.

const LARGEST = 32;
const STEP = 1.25;

const view = document.getElementById("view");
const canvas = document.getElementById("picture");
const text = document.getElementById("zoom-text");
const context = canvas.getContext("2d");

// the scale from pixels of the picture to those of the page; null fits it into the view
let scale = null;
let corner = { x: 0, y: 0 };
let newest = 0;
// a part of the picture, [left, top, width, height] in shares of it, that is outlined
let part = null;
const outlined = document.getElementById("region");

/** Draws a picture; older ones that are decoded late are left out. */
export async function draw(head, blob, label) {
  const number = ++newest;
  const bitmap = await createImageBitmap(blob).catch(() => null);
  if (!bitmap) return;
  if (number >= newest - 1) {
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
      scale = null;
    }
    context.drawImage(bitmap, 0, 0);
    canvas.setAttribute("aria-label", label);
    document.getElementById("waiting").hidden = true;
    canvas.hidden = false;
    place();
  }
  bitmap.close();
}

/** Removes the picture, until the next one. */
export function clear() {
  newest += 2;
  canvas.hidden = true;
  document.getElementById("waiting").hidden = false;
}

function fitting() {
  return Math.min(view.clientWidth / canvas.width, view.clientHeight / canvas.height);
}

function place() {
  const now = scale ?? fitting();
  const [width, height] = [canvas.width * now, canvas.height * now];
  const within = (at, size, room) => (size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, at)));
  corner.x = within(corner.x, width, view.clientWidth);
  corner.y = within(corner.y, height, view.clientHeight);
  canvas.style.transform = `translate(${corner.x}px, ${corner.y}px) scale(${now})`;
  outlined.hidden = part === null || canvas.hidden;
  if (!outlined.hidden) {
    const [left, top, wide, high] = part;
    Object.assign(outlined.style, { left: `${corner.x + left * width}px`, top: `${corner.y + top * height}px`, width: `${wide * width}px`, height: `${high * height}px` });
  }
  canvas.classList.toggle("sharp", now * devicePixelRatio > 6);
  // a finger on a picture that fits scrolls the page
  view.style.touchAction = scale === null ? "pan-y" : "none";
  text.textContent = scale === null ? "Fit" : `${Math.round(100 * now)} %`;
}

/** Outlines a part of the picture, [left, top, width, height] in shares of it, or none. */
export function outline(rectangle) {
  part = rectangle;
  place();
}

/** Zooms by a factor around a point of the view, by default its middle. */
export function zoom(factor, at = { x: view.clientWidth / 2, y: view.clientHeight / 2 }) {
  const now = scale ?? fitting();
  const next = Math.min(LARGEST, Math.max(Math.min(1, fitting()), now * factor));
  corner = { x: at.x - ((at.x - corner.x) * next) / now, y: at.y - ((at.y - corner.y) * next) / now };
  scale = next;
  place();
}

/** Fits the picture into the view. */
export function fit() {
  scale = null;
  place();
}

function inView(event) {
  const frame = view.getBoundingClientRect();
  return { x: event.clientX - frame.left, y: event.clientY - frame.top };
}

view.addEventListener(
  "wheel",
  (event) => {
    // a page that is scrolled with the pointer over the picture goes on scrolling
    if (!event.ctrlKey && scale === null && matchMedia("(max-width: 1080px)").matches) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * 0.0016), inView(event));
  },
  { passive: false },
);
view.addEventListener("dblclick", (event) => {
  if (scale === null) zoom(2, inView(event));
  else fit();
});

// one pointer moves the picture, two zoom it
const pointers = new Map();
view.addEventListener("pointerdown", (event) => {
  pointers.set(event.pointerId, inView(event));
  view.setPointerCapture(event.pointerId);
});
view.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const now = inView(event);
  const others = [...pointers].filter(([id]) => id !== event.pointerId);
  if (others.length === 1) {
    const other = others[0][1];
    const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y);
    if (apart(before) > 8) zoom(apart(now) / apart(before), other);
  } else {
    corner = { x: corner.x + now.x - before.x, y: corner.y + now.y - before.y };
    place();
  }
  pointers.set(event.pointerId, now);
});
for (const name of ["pointerup", "pointercancel"]) {
  view.addEventListener(name, (event) => pointers.delete(event.pointerId));
}
new ResizeObserver(place).observe(view);
document.getElementById("zoom-in").onclick = () => zoom(STEP);
document.getElementById("zoom-out").onclick = () => zoom(1 / STEP);
document.getElementById("zoom-fit").onclick = fit;
