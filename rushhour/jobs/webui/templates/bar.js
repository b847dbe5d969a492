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
  const COLOURS = { pass: "#43c59e", fail: "#ff8a50", unknown: "#e3b341" };

  async function ask() {
    try {
      const answer = await fetch("/rushhour/state");
      if (answer.redirected) { location.href = "/login"; return; }
      const view = await answer.json(), last = view.runs[0];
      state.textContent = `rushhour: ${view.words}`;
      bar.dataset.phase = view.phase;
      verdict.textContent = last ? `${last.verdict}: ${last.line}` : "";
      verdict.style.color = last ? COLOURS[last.verdict] : "";
      report.hidden = !last;
      if (last) report.href = `/rushhour/runs/${encodeURIComponent(last.name)}/report.html`;
    } catch { state.textContent = "rushhour no longer answers"; }
    setTimeout(ask, 1000);
  }

  // Scenario and release belong to the form, not behind a fold; another scenario brings its own numbers.
  const open = () => {
    const select = document.querySelector('select[name="scenario"]');
    const fold = select?.closest(".MuiAccordion-root")?.querySelector("button, [aria-expanded]");
    if (fold?.getAttribute("aria-expanded") === "false" && !fold.dataset.opened) { fold.dataset.opened = "yes"; fold.click(); }
  };
  new MutationObserver(open).observe(document.getElementById("root"), { childList: true, subtree: true });
  open();
  document.addEventListener("change", (event) => {
    if (event.target.name === "scenario" && event.target.closest("form"))
      location.search = `?scenario=${encodeURIComponent(event.target.value)}`;
  });

  document.body.append(bar);
  ask();
})();
