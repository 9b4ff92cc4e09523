// The connection to the program: the token of the page's link, requests, and events.

const KEPT = "phantasia-token";
const DEVICE = "phantasia-device";
const FIRST_WAIT = 400;
const LONGEST_WAIT = 5000;

const query = new URLSearchParams(location.search);
if (query.get("token")) {
  // kept for a reload, and out of the address so that it is not passed on with it
  sessionStorage.setItem(KEPT, query.get("token"));
  history.replaceState(null, "", location.pathname);
}
const token = sessionStorage.getItem(KEPT) ?? "";

export const hasToken = token !== "";

/** The address of a file that an image or a download names. */
export function address(path, parameters = {}) {
  return `${path}?${new URLSearchParams({ ...parameters, token })}`;
}

/** Sends a request; the answer's JSON, or an error with the program's words. */
export async function call(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: { Authorization: `Bearer ${token}`, ...(body && { "Content-Type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.error ?? `the program answered ${answer.status}`);
  return told;
}

/** The device whose render is shown; null for the first. */
export const keptDevice = () => sessionStorage.getItem(DEVICE);

/**
 * Connects for events, again and again. `handlers` has a function for each event, `picture(head, blob)`, and `status(name)`. Returns functions
 * that send a request, and that show another device's render.
 */
export function connect(handlers) {
  let wait = FIRST_WAIT;
  let socket;
  let head;
  let isSwitching = false;
  const open = () => {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}${address("/api/events", keptDevice() ? { device: keptDevice() } : {})}`);
    socket.binaryType = "blob";
    let opened = false;
    socket.onopen = () => {
      opened = true;
      wait = FIRST_WAIT;
      handlers.status("open");
    };
    socket.onmessage = ({ data }) => {
      if (typeof data !== "string") {
        handlers.picture(head, data.slice(0, data.size, head.media_type));
        return;
      }
      const event = JSON.parse(data);
      if (event.event === "picture") head = event;
      else handlers[event.event]?.(event);
    };
    socket.onclose = async () => {
      if (isSwitching) {
        isSwitching = false;
        open();
        return;
      }
      handlers.status("lost");
      if (!opened && (await isRefused())) {
        handlers.status("refused");
        return;
      }
      // the program may have been started again without the device
      if (!opened) sessionStorage.removeItem(DEVICE);
      setTimeout(open, wait);
      wait = Math.min(2 * wait, LONGEST_WAIT);
    };
  };
  open();
  return {
    send(request) {
      if (socket.readyState !== WebSocket.OPEN) return false;
      socket.send(JSON.stringify(request));
      return true;
    },
    show(device) {
      sessionStorage.setItem(DEVICE, device);
      isSwitching = true;
      socket.close();
    },
  };
}

async function isRefused() {
  try {
    const answer = await fetch("/api/state", { headers: { Authorization: `Bearer ${token}` } });
    return answer.status === 401;
  } catch {
    return false;
  }
}
