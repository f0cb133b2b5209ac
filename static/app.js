// What the pages do beyond links, forms and htmx. Everything here is an addition: without it each page still works.
(() => {
  "use strict";

  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const shown = (element) => element.checkVisibility();

  // Parts that only make sense with or without script --------------------------------------------------------------
  function enhance(root) {
    for (const part of all("[data-script-only]", root)) part.hidden = false;
    for (const part of all("[data-no-script]", root)) part.hidden = true;
    for (const answer of all("[data-stream]", root)) follow(answer);
    if (root.matches?.("[data-stream]")) follow(root);
    if (one("[data-chips]", root) || root.matches?.("[data-chips]")) drawChips();
  }

  // An answer being written ----------------------------------------------------------------------------------------
  const followed = new Set();
  const MAX_FAILURES = 4;

  function atBottom(thread) {
    return thread.scrollHeight - thread.scrollTop - thread.clientHeight < 80;
  }

  /** Changes the thread, and stays at its end only if the reader was there. */
  function keepingPlace(change) {
    const thread = one("#thread");
    const follows = atBottom(thread);
    change();
    if (follows) thread.scrollTop = thread.scrollHeight;
  }

  const spoken = [];
  function say(text) {
    spoken.push(text);
    setTimeout(() => {
      const live = one("#answer-live");
      if (live && spoken.length) live.textContent = spoken.splice(0).join(" ");
    }, 300);
  }

  function follow(answer) {
    if (followed.has(answer.id)) return;
    followed.add(answer.id);
    let failures = 0;
    let source;
    const slot = (name) => one(`[data-slot="${name}"]`, answer);

    function lost() {
      source.close();
      const notice = one("#stream-lost")?.content.cloneNode(true);
      if (notice) keepingPlace(() => slot("state").replaceWith(notice));
    }

    function connect() {
      source = new EventSource(answer.dataset.stream);
      source.addEventListener("open", () => { failures = 0; });
      source.addEventListener("coverage", (event) => keepingPlace(() => {
        slot("coverage").innerHTML = event.data;
        slot("state").lastElementChild.textContent = "Writing";
      }));
      source.addEventListener("activity", (event) => { slot("state").lastElementChild.textContent = event.data; });
      source.addEventListener("prose", (event) => keepingPlace(() => { slot("prose").innerHTML = event.data; }));
      source.addEventListener("sentence", (event) => say(event.data));
      source.addEventListener("failure", (event) => keepingPlace(() => {
        slot("state").outerHTML = event.data;
      }));
      source.addEventListener("done", (event) => {
        source.close();
        answer.removeAttribute("aria-busy");
        if (event.data) finish(answer, event.data);
      });
      source.addEventListener("error", () => {
        failures += 1;
        if (failures > MAX_FAILURES) lost();
        else if (source.readyState === EventSource.CLOSED) setTimeout(connect, 1000 * failures);
      });
    }
    connect();
  }

  function finish(answer, html) {
    const thread = one("#thread");
    const follows = atBottom(thread);
    const id = answer.id;
    htmx.swap(answer, html, { swapStyle: "outerHTML", swapDelay: 0, settleDelay: 0 });
    if (follows) thread.scrollTop = thread.scrollHeight;
    say(document.getElementById(id)?.dataset.finished ?? "Answer finished");
    document.dispatchEvent(new CustomEvent("room:answered", { detail: { id } }));
  }

  // The composer ---------------------------------------------------------------------------------------------------
  const UNSENT = "unsent-question";

  function drawChips() {
    const chips = one("[data-chips]");
    if (!chips) return;
    const boxes = all('#composer input[name="collections"]');
    const chosen = boxes.filter((box) => box.checked);
    chips.replaceChildren(...(chosen.length ? chosen.map(removableChip) : [plainChip("All your collections")]));
  }

  function plainChip(text) {
    const chip = document.createElement("span");
    chip.className = "chip";
    chip.append(Object.assign(document.createElement("span"), { textContent: text }));
    return chip;
  }

  function removableChip(box) {
    const chip = plainChip(box.dataset.name);
    chip.classList.add("chip--x");
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `Remove ${box.dataset.name}`);
    button.append(one(".icon", one("#icon-x").content).cloneNode(true));
    button.addEventListener("click", () => {
      box.checked = false;
      drawChips();
      one("#question").focus();
    });
    chip.append(button);
    return chip;
  }

  function send() {
    const button = one('#send button[type="submit"].btn--primary');
    if (button && !button.disabled) one("#composer").requestSubmit(button);
  }

  // Keys -----------------------------------------------------------------------------------------------------------
  const SINGLE_KEYS = "single-keys";
  const singleKeysOn = () => localStorage.getItem(SINGLE_KEYS) !== "off";
  let lastCite = null;

  const typing = (target) =>
    target.isContentEditable ||
    target.matches("textarea, select, input:not([type=radio], [type=checkbox], [type=button], [type=submit])");

  function byKey(key) {
    return all("[aria-keyshortcuts]").find(
      (element) => element.getAttribute("aria-keyshortcuts").split(" ").includes(key) && !element.disabled && shown(element),
    );
  }

  function escape(event) {
    const menu = one("details.menu[open]");
    if (menu) {
      menu.open = false;
      one("summary", menu).focus();
    } else if (one(":popover-open")) {
      return; // the browser closes it and returns the focus
    } else if (event.target.closest("#source") && lastCite?.isConnected) {
      lastCite.focus();
    } else if (event.target.closest("#event") && one("#events .is-current [data-row]")) {
      one("#events .is-current [data-row]").focus();
    } else {
      byKey("Escape")?.click();
    }
  }

  /** Through the list of events: J and the arrow down to the next row, K and the arrow up to the one before. */
  function stepped(event) {
    const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
    const list = one("[data-events]");
    if (!step || !list || event.target.closest("details[open], [popover]")) return false;
    const rows = all("[data-row]", list).filter(shown);
    const here = rows.indexOf(document.activeElement);
    if (event.key.startsWith("Arrow") && here < 0) return false; // else the page scrolls
    const current = here < 0 ? rows.indexOf(one(".is-current [data-row]", list)) : here;
    rows[Math.max(0, Math.min(rows.length - 1, current + step))]?.focus();
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return escape(event);
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.id === "question") {
      event.preventDefault();
      return send();
    }
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || !singleKeysOn()) return;
    if (stepped(event)) return event.preventDefault();
    const key = event.key.toLowerCase();
    if (key.length !== 1) return;
    let element = byKey(key);
    if (!element && key === "]") element = all("#thread .msg:last-of-type a.cite").find(shown);
    if (!element) return;
    event.preventDefault();
    if (element.matches("input, textarea")) element.focus();
    else element.click();
  });

  // Clicks and changes ---------------------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
    const target = event.target.closest("[data-dialog], [data-close], [data-copy], [data-copy-text], a.cite, .source-card, .menu-item");
    if (!target) return;
    if (target.matches("[data-dialog]") && document.getElementById(target.dataset.dialog)) {
      event.preventDefault();
      document.getElementById(target.dataset.dialog).showPopover();
    } else if (target.matches("[data-close]")) {
      target.closest(".toast").remove();
    } else if (target.matches("[data-copy]")) {
      copy(target, one(".prose", document.getElementById(target.dataset.copy)).cloneNode(true));
    } else if (target.matches("[data-copy-text]")) {
      copy(target, Object.assign(document.createElement("span"), { textContent: target.dataset.copyText }));
    } else if (target.matches("a.cite, .source-card")) {
      lastCite = target;
    } else if (target.matches(".menu-item[popovertarget]")) {
      target.closest("details").open = false;
    }
  });

  async function copy(button, prose) {
    for (const part of all(".cite, .badge, .sr-only", prose)) part.remove();
    const holder = document.createElement("div");
    holder.className = "sr-only";
    holder.append(prose);
    document.body.append(holder);
    const text = prose.innerText.trim();
    try {
      await navigator.clipboard.writeText(text);
    } catch { // not offered without TLS: copy from a selection instead
      const range = document.createRange();
      range.selectNodeContents(prose);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand("copy");
      getSelection().removeAllRanges();
    }
    holder.remove();
    const label = one("span", button);
    const before = (label.dataset.label ??= label.textContent);
    label.textContent = "Copied";
    setTimeout(() => { label.textContent = before; }, 2000);
  }

  document.addEventListener("change", (event) => {
    const input = event.target;
    if (input.name === "theme") {
      if (input.value === "system") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = input.value;
    } else if (input.matches("[data-single-keys]")) {
      localStorage.setItem(SINGLE_KEYS, input.checked ? "on" : "off");
    } else if (input.name === "collections") {
      drawChips();
    } else if (input.type === "file" && input.closest("[data-drop]") && input.files.length) {
      input.form.requestSubmit();
    }
  });

  // The drop zone --------------------------------------------------------------------------------------------------
  for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(type, (event) => {
      const zone = event.target.closest?.("[data-drop]");
      for (const other of all("[data-drop].is-over")) if (other !== zone) other.classList.remove("is-over");
      if (!zone || !event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      zone.classList.toggle("is-over", type !== "drop" && (type !== "dragleave" || zone.contains(event.relatedTarget)));
      if (type === "drop" && event.dataTransfer.files.length) {
        one("input[type=file]", zone).files = event.dataTransfer.files;
        zone.requestSubmit();
      }
    });
  }

  // htmx -----------------------------------------------------------------------------------------------------------
  document.addEventListener("htmx:load", (event) => enhance(event.detail.elt));

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr } = event.detail;
    if (xhr.status >= 400 && target.matches("tr, #parts")) event.detail.shouldSwap = false; // the next poll may work
  });

  document.addEventListener("htmx:beforeRequest", (event) => {
    const { elt } = event.detail;
    if (elt.matches("[data-drop]")) elt.setAttribute("aria-busy", "true");
  });

  document.addEventListener("htmx:xhr:progress", (event) => {
    const meter = one("[data-upload]", event.target);
    if (!meter || !event.detail.lengthComputable) return;
    meter.hidden = false;
    meter.value = event.detail.loaded / event.detail.total;
  });

  document.addEventListener("htmx:beforeOnLoad", (event) => {
    const question = one("#question");
    if (event.detail.xhr.status === 401 && question?.value.trim()) sessionStorage.setItem(UNSENT, question.value);
  });

  document.addEventListener("htmx:afterRequest", (event) => {
    const { elt, successful } = event.detail;
    if (elt.matches("[data-drop]")) {
      elt.removeAttribute("aria-busy");
      elt.reset();
      const meter = one("[data-upload]", elt);
      if (meter) meter.hidden = true;
    }
    if (elt.id === "composer") {
      if (successful) one("#question").value = "";
      const thread = one("#thread");
      thread.scrollTop = thread.scrollHeight;
    }
  });

  document.addEventListener("htmx:sendError", (event) => {
    if (event.detail.elt.id !== "composer") return;
    const notice = one("#send-lost")?.content.cloneNode(true);
    if (notice) keepingPlace(() => one("#thread").append(notice));
  });

  document.addEventListener("htmx:oobAfterSwap", (event) => {
    if (event.detail.target?.id === "send" && document.activeElement === document.body) one("#question")?.focus();
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target?.id === "log") event.detail.target.showPopover?.();
    const { target } = event.detail;
    if (!target) return; // a swap made by finish() above
    if (target.id === "source") showSource(target);
    if (target.id === "event") {
      for (const row of all("#events tr.is-current")) row.classList.remove("is-current");
      event.detail.requestConfig?.elt?.closest?.("tr")?.classList.add("is-current");
    }
    one("[data-focus]", target)?.focus();
  });

  /** The passage as it is shown: a box over the page as it looks, or marked text. */
  function passageIn(root) {
    const reader = one('[data-reader]:not([data-view="text"])', root);
    return reader ? one(".hit", reader) : one("mark", root);
  }

  function showSource(pane) {
    if (getComputedStyle(pane).display === "none") pane.showPopover();
    const opened = one("[data-open-source]", pane);
    for (const mark of all(".cite[aria-current], .source-card[aria-current]")) mark.removeAttribute("aria-current");
    if (!opened) return;
    const answer = document.getElementById(opened.dataset.answer);
    if (!answer) return;
    for (const mark of all(`[data-source="${opened.dataset.openSource}"]`, answer)) {
      mark.setAttribute("aria-current", "true");
      if (mark.matches(".source-card")) one(".cite", mark)?.setAttribute("aria-current", "true");
    }
    const passage = passageIn(pane);
    const desk = one(".desk", pane);
    if (passage && desk) desk.scrollTop += passage.getBoundingClientRect().top - desk.getBoundingClientRect().top - 120;
  }

  // Start ----------------------------------------------------------------------------------------------------------
  function start() {
    enhance(document);
    for (const box of all("[data-single-keys]")) box.checked = singleKeysOn();
    const question = one("#question");
    const unsent = sessionStorage.getItem(UNSENT);
    if (question && unsent !== null) {
      if (!question.value) question.value = unsent;
      sessionStorage.removeItem(UNSENT);
    }
    const questions = all("#thread .msg--question");
    const thread = one("#thread");
    if (questions.length > 1) thread.scrollTop = questions.at(-1).offsetTop - thread.offsetTop;
    const viewer = one(".viewer");
    const passage = viewer && passageIn(viewer);
    passage?.scrollIntoView({ block: "center" });
  }
  start();
})();
