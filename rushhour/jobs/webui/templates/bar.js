"use strict";
// Under Locust's own page: what rushhour is doing, the last verdict with its report, and the live charts.
(() => {
  const bar = document.createElement("div");
  bar.id = "rushhour";
  Object.assign(bar.style, { position: "fixed", left: 0, right: 0, bottom: 0, zIndex: 1500, display: "flex", gap: "6px 18px",
    flexWrap: "wrap", alignItems: "center", padding: "7px 18px", background: "#16202b", color: "#e6e9ed",
    font: "14px/1.4 system-ui, sans-serif", borderTop: "1px solid #34404d" });
  document.body.style.paddingBottom = "72px";
  const part = (tag, id, text) => {
    const made = document.createElement(tag);
    made.id = id;
    made.textContent = text;
    if (tag === "a") made.style.color = "#7cbcf2";
    bar.append(made);
    return made;
  };
  const state = part("span", "rushhour-state", "…"), verdict = part("span", "rushhour-verdict", "");
  const report = part("a", "rushhour-report", "report");
  part("a", "rushhour-live", "live charts").href = "/rushhour";
  state.style.fontWeight = 600;
  state.setAttribute("role", "status");
  report.hidden = true;
  const notice = document.createElement("div");
  notice.id = "rushhour-notice";
  notice.setAttribute("role", "alert");
  Object.assign(notice.style, { flexBasis: "100%", color: "#ffb4a2", fontWeight: 600 });
  notice.hidden = true;
  bar.prepend(notice);
  const tell = (text) => { notice.textContent = text; notice.hidden = !text; };
  const COLOURS = { pass: "#43c59e", fail: "#ff8a50", unknown: "#e3b341" };

  // Each second while a run is under way, seldom while none is, and never while nobody sees the page.
  const EVERY_MS = 1000, IDLE_MS = 4000;
  let timer = 0, asking = false;
  async function ask() {
    clearTimeout(timer);
    if (asking || document.hidden) return;
    asking = true;
    let phase = "gone";
    try {
      const answer = await fetch("/rushhour/bar");
      if (answer.redirected) { location.href = "/login"; return; }
      const view = await answer.json(), last = view.last;
      phase = view.phase;
      state.textContent = `rushhour: ${view.words}`;
      bar.dataset.phase = phase;
      verdict.textContent = last ? `${last.verdict}: ${last.line}` : "";
      verdict.style.color = last ? COLOURS[last.verdict] : "";
      report.hidden = !last;
      if (last) report.href = `/rushhour/runs/${encodeURIComponent(last.name)}/report.html`;
    } catch { state.textContent = "rushhour no longer answers"; }
    asking = false;
    timer = setTimeout(ask, phase === "ready" || phase === "gone" ? IDLE_MS : EVERY_MS);
  }
  document.addEventListener("visibilitychange", ask);
  document.addEventListener("submit", () => { setTimeout(ask, 300); }, true);

  // Scenario and release belong to the form, not behind a fold.
  const open = () => {
    const select = document.querySelector('select[name="scenario"]');
    const fold = select?.closest(".MuiAccordion-root")?.querySelector("button, [aria-expanded]");
    if (fold?.getAttribute("aria-expanded") === "false" && !fold.dataset.opened) { fold.dataset.opened = "yes"; fold.click(); }
  };
  new MutationObserver(open).observe(document.getElementById("root"), { childList: true, subtree: true });
  open();

  // Another scenario brings its own numbers, in the form as it stands. React hears of a value only through its setter.
  const set = (field, value) => {
    const kind = field instanceof HTMLSelectElement ? HTMLSelectElement : HTMLInputElement;
    Object.getOwnPropertyDescriptor(kind.prototype, "value").set.call(field, value);
  };
  const put = (field, value) => {
    set(field, value);
    field.dispatchEvent(new Event(field instanceof HTMLSelectElement ? "change" : "input", { bubbles: true }));
  };
  document.addEventListener("change", async (event) => {
    const form = event.target.name === "scenario" && event.target.closest("form");
    if (!form) return;
    try {
      const numbers = (await (await fetch("/rushhour/scenarios")).json())[event.target.value];
      for (const [name, value] of Object.entries(numbers)) {
        const field = form.querySelector(`[name="${name}"]`);
        if (field) put(field, String(value));
      }
    } catch { tell("The numbers of this scenario could not be had: rushhour no longer answers."); }
  });

  // Locust's form drops what is no digit, so that -5 users became 5. What was typed stays, and is refused.
  const NUMBERS = { userCount: "Number of users", spawnRate: "Ramp up" };
  const refused = new Map(); // field -> what was typed into it
  const kept = new WeakSet();
  const keep = (field) => { // Locust's page would write its own number over it, whenever it draws the field
    if (kept.has(field)) return;
    kept.add(field);
    const own = Object.getOwnPropertyDescriptor(field, "value") ?? Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value");
    Object.defineProperty(field, "value", { configurable: true, enumerable: own.enumerable,
      get() { return own.get.call(this); },
      set(value) { if (!refused.has(this)) own.set.call(this, value); } });
  };
  const why = (field) => `${NUMBERS[field.name]}: "${refused.get(field)}" is not a number above 0. Nothing was started.`;
  document.addEventListener("input", (event) => {
    const field = event.target;
    if (!(field.name in NUMBERS)) return;
    if (/^[0-9]*[.]?[0-9]*$/.test(field.value)) {
      if (refused.delete(field)) tell("");
      return;
    }
    event.stopPropagation();
    keep(field);
    refused.set(field, field.value);
    tell(why(field));
  }, true);
  document.addEventListener("change", (event) => { if (refused.has(event.target)) event.stopPropagation(); }, true);
  document.addEventListener("submit", (event) => {
    const wrong = [...refused.keys()].find((field) => event.target.contains(field));
    tell(wrong ? why(wrong) : "");
    if (!wrong) return;
    event.preventDefault();
    event.stopPropagation();
    wrong.focus();
  }, true);

  // A run is judged on what it was started with.
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button");
    if (!button || button.closest("form") || button.textContent.trim().toLowerCase() !== "edit") return;
    event.preventDefault();
    event.stopPropagation();
    tell("Edit is refused: a run is judged on what it was started with. Stop it, and start another.");
  }, true);

  document.body.append(bar);
  ask();
})();
