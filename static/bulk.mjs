// Sends many files, a few at a time, each in a request of its own, so that one that hangs or is refused holds up no other.
// What became of each is in the appliance's rows; this script only sends, and may be reloaded at any time.
const one = (selector, root = document) => root.querySelector(selector);

const AT_ONCE = 3;
const LISTED_AT_ONCE = 1000;
const FEW = 20;
const RETRY_MS = [1000, 4000, 15000];

const token = () => one("[name=csrfmiddlewaretoken]").value;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function post(address, body) {
  const headers = { "X-CSRFToken": token() };
  if (!(body instanceof FormData)) headers["Content-Type"] = "application/json";
  return fetch(address, { method: "POST", headers, body: body instanceof FormData ? body : JSON.stringify(body) });
}

/** Files with their paths, from a drop that may hold folders. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ path: entry.fullPath.replace(/^\//, ""), file });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) return;
    for (const inner of part) await walk(inner, found);
  }
}

const chosen = (input) => [...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));

class Sending {
  constructor(batch, files) {
    Object.assign(this, { batch, waiting: files, total: files.length, sent: 0, lost: 0, paused: false, stopped: false });
  }

  async run() {
    this.say();
    addEventListener("beforeunload", this.warn);
    await Promise.all(Array.from({ length: AT_ONCE }, () => this.work()));
    removeEventListener("beforeunload", this.warn);
    this.over = true;
    this.say();
    refresh(this.batch);
  }

  warn = (event) => event.preventDefault();

  async work() {
    while (this.waiting.length && !this.stopped) {
      if (this.paused) {
        await pause(200);
        continue;
      }
      const next = this.waiting.shift();
      if (await this.send(next)) this.sent += 1;
      else this.lost += 1;
      this.say();
      if (this.sent % 10 === 0) refresh(this.batch);
    }
  }

  /** Whether the appliance took the file or refused it with a reason: either way it is accounted for. */
  async send({ id, path, file }) {
    for (const wait of [...RETRY_MS, null]) {
      try {
        const form = new FormData();
        form.append("file", file, path.split("/").pop());
        const response = await post(`/library/batches/${this.batch}/files/${id}`, form);
        if (response.ok) return true;
        if (response.status === 409 || response.status === 401 || response.redirected) {
          this.stopped = true;
          return false;
        }
        if (response.status < 500) return false;
      } catch { /* the connection was lost, or the file cannot be read any more */ }
      if (wait === null) return false;
      await pause(wait);
    }
    return false;
  }

  say() {
    const line = one("[data-bulk-state]");
    if (!line) return;
    line.hidden = false;
    const lost = this.lost ? ` ${this.lost} could not be sent and are listed as not sent.` : "";
    if (this.over) line.textContent = `${this.sent} of ${this.total} files were sent.${lost}`;
    else if (this.paused) line.textContent = `Paused: ${this.sent} of ${this.total} files were sent.`;
    else line.textContent = `Sending: ${this.sent} of ${this.total} files. Keep this page open.${lost}`;
  }
}

let sending = null;

function refresh(batch) {
  if (!one("#batch")) return;
  const query = location.pathname.endsWith(batch) ? location.search : "";
  htmx.ajax("GET", `/library/batches/${batch}${query}`, { target: "#batch", swap: "outerHTML" });
}

async function begin(collection, files) {
  const started = await post(`/library/${collection}/bulk`, {});
  if (!started.ok) return location.reload();
  const { batch, address } = await started.json();
  const listed = [];
  for (let first = 0; first < files.length; first += LISTED_AT_ONCE) {
    const part = files.slice(first, first + LISTED_AT_ONCE);
    const response = await post(`${address}/files`, { files: part.map(({ path, file }) => [path, file.size]) });
    if (!response.ok) break;
    const { items } = await response.json();
    part.forEach((file, at) => listed.push({ ...file, id: items[at] }));
  }
  await htmx.ajax("GET", address, { target: "#main", select: "#main", swap: "outerHTML" });
  const drawer = document.createElement("aside");
  if (!one("#log")) {
    Object.assign(drawer, { id: "log", className: "drawer log-drawer", popover: "auto" });
    drawer.setAttribute("aria-label", "What happened to a file");
    document.body.append(drawer);
  }
  history.pushState({}, "", address);
  one("[data-bulk-resume]")?.remove();
  sending = new Sending(batch, listed);
  sending.run();
}

async function resume(batch, files) {
  const { items } = await (await fetch(`/library/batches/${batch}/unsent`)).json();
  const given = new Map(files.map((item) => [`${item.path}\n${item.file.size}`, item]));
  const again = items.flatMap(([id, path, size]) => {
    const found = given.get(`${path}\n${size}`);
    return found ? [{ ...found, id }] : [];
  });
  if (again.length) one("[data-bulk-resume]")?.remove();
  sending = new Sending(batch, again);
  sending.run();
}

const collectionOf = (form) => form.getAttribute("action").split("/")[2];

// A folder, or many files: they go as a batch. A few files go the short way, as without this script.
document.addEventListener("drop", async (event) => {
  const zone = event.target.closest?.("[data-drop]");
  if (!zone || !event.dataTransfer) return;
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (event.dataTransfer.files.length <= FEW && !entries.some((entry) => entry.isDirectory)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  zone.classList.remove("is-over");
  const collection = collectionOf(zone);
  const files = entries.length
    ? await filesOf(event.dataTransfer)
    : [...event.dataTransfer.files].map((file) => ({ path: file.name, file }));
  if (files.length) begin(collection, files);
}, true);

document.addEventListener("change", (event) => {
  const input = event.target;
  if (input.type !== "file" || !input.files.length) return;
  const form = input.closest("[data-drop]");
  const again = input.closest("[data-bulk-resume]");
  if (again) return resume(one("[data-batch]").dataset.batch, chosen(input));
  if (!form || (!input.webkitdirectory && input.files.length <= FEW)) return;
  event.stopImmediatePropagation();
  begin(collectionOf(form), chosen(input));
}, true);

// Pausing stops the sending at once, and what waits at the appliance too. While nothing is sent, the form does it alone.
document.addEventListener("submit", async (event) => {
  const form = event.target.closest("[data-bulk-hold]");
  if (!form || !sending || sending.over) return;
  event.preventDefault();
  sending.paused = form.dataset.bulkHold === "pause";
  sending.say();
  try {
    await post(form.getAttribute("action"), {});
  } finally {
    refresh(sending.batch);
  }
});
