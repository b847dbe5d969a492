"use strict";
// Asks for what is new, and draws it: each second while a run is under way, seldom while none is, and never while
// nobody sees the page. All text goes into the page as text.
const EVERY_MS = 1000, IDLE_MS = 4000;
let timer = 0, asking = false;
const RUNNING = ["running", "draining"];
const at = (id) => document.getElementById(id);
const tone = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const known = { run: "", next: 0, points: [] };
const charts = new Map(); // title -> its element

function element(tag, parent, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  parent.append(made);
  return made;
}

function line(name, values, colour, more = {}) {
  return { name, x: known.points.map((one) => one.t), y: values, mode: "lines", type: "scatter",
    line: { color: tone(colour), width: 2, ...more.line }, ...more.trace };
}

function limit(name, values, colour) {
  return line(name, values, colour, { line: { dash: "dash", width: 1.5 } });
}

function pictures() {
  const points = known.points;
  const pools = [...new Set(points.flatMap((one) => Object.keys(one.pools)))].sort();
  const made = pools.map((pool) => {
    const part = (n) => points.map((one) => one.pools[pool]?.[n] ?? null);
    return [`Pool ${pool}: connections`, [
      line("in use", part(0), "blue", { trace: { fill: "tozeroy" } }),
      limit("capacity", part(1), "grey"), line("waiting", part(2), "orange"), line("leaked", part(3), "red")]];
  });
  made.push(["Requests ended with 5xx, a second", [line("5xx", points.map((one) => one.errors), "red", { trace: { fill: "tozeroy" } })]]);
  made.push(["CPU of the servers, cores", ["primary", "replica"].flatMap((server, n) => {
    const colour = n ? "orange" : "blue";
    const used = line(server, points.map((one) => one.cpu[server] ?? null), colour);
    const most = points.map((one) => one.limits[server] ?? null);
    return most.some((value) => value !== null) ? [used, limit(`limit of ${server}`, most, colour)] : [used];
  })]);
  made.push(["Customers", [line("customers", points.map((one) => one.users), "green")]]);
  made.push(["Requests a second", [line("requests", points.map((one) => one.rps), "purple")]]);
  return made;
}

function draw() {
  at("empty").hidden = known.points.length > 0;
  const wanted = known.points.length ? pictures() : [];
  for (const title of [...charts.keys()]) {
    if (!wanted.some(([one]) => one === title)) { charts.get(title).remove(); charts.delete(title); }
  }
  const axis = { gridcolor: tone("grid"), linecolor: tone("edge"), zeroline: false, color: tone("muted"), fixedrange: true };
  const span = Math.max(10, known.points.at(-1)?.t ?? 0);
  for (const [title] of wanted) { // all of them first: a chart takes the width that its neighbours leave
    if (charts.has(title)) continue;
    const box = element("div", at("charts"), undefined, "chart");
    element("h3", box, title);
    element("div", box, undefined, "plot");
    charts.set(title, box);
  }
  for (const [title, traces] of wanted) {
    const top = Math.max(1, ...traces.flatMap((one) => one.y).filter((value) => value !== null)) * 1.08;
    Plotly.react(charts.get(title).querySelector(".plot"), traces, {
      margin: { l: 42, r: 8, t: 6, b: 28 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { size: 11, color: tone("muted") }, showlegend: traces.length > 1,
      legend: { orientation: "h", y: 1.16, x: 1, xanchor: "right" }, hovermode: "x unified",
      hoverlabel: { bgcolor: tone("raised"), bordercolor: tone("edge"), font: { color: tone("ink") } },
      xaxis: { ...axis, range: [0, span], ticksuffix: " s" }, yaxis: { ...axis, range: [0, top] },
    }, { displayModeBar: false, responsive: true });
  }
  at("charts").dataset.points = known.points.length;
}

function rows(id, made) {
  const body = document.createElement("tbody");
  for (const cells of made) {
    const row = element("tr", body);
    cells.forEach((cell) => (typeof cell === "object" && cell !== null ? row.append(cell) : element("td", row, cell, typeof cell === "number" ? "n" : "")));
  }
  at(id).tBodies[0].replaceWith(body);
}

function figure(text) {
  const cell = document.createElement("td");
  cell.className = "n";
  cell.textContent = text;
  return cell;
}

function tiles(state, view) {
  const shown = state ? [
    ["time", `${Math.floor(state.elapsed_s)} of ${Math.round(view.duration_s)} s`],
    ["customers", `${state.users ?? "-"} ${view.customers}`],
    ["requests", `${state.requests.toLocaleString("en")}`],
    ["HTTP 5xx", `${state.server_errors.toLocaleString("en")}`],
    ...state.pools.map((pool) => [`pool ${pool.pool}`,
      `${pool.checked_out} of ${pool.capacity ?? "∞"}${pool.timeouts ? `, ${pool.timeouts} timed out` : ""}`]),
  ] : [];
  at("tiles").hidden = !shown.length;
  at("tiles").replaceChildren();
  for (const [name, text] of shown) {
    const tile = element("div", at("tiles"), undefined, "tile");
    element("dt", tile, name);
    element("dd", tile, text);
  }
}

function verdict(text) {
  const cell = document.createElement("td");
  element("span", cell, text, `badge ${text}`);
  return cell;
}

function report(run) {
  const cell = document.createElement("td");
  element("a", cell, "report", "report").href = `/rushhour/runs/${encodeURIComponent(run.name)}/report.html`;
  return cell;
}

function show(view) {
  const state = view.state;
  at("phase").textContent = view.phase;
  at("phase").className = `badge ${RUNNING.includes(view.phase) ? "running" : ""}`;
  at("words").textContent = view.words;
  at("title").textContent = view.scenario ? `${view.scenario}, release ${view.release}` : "No run yet";
  tiles(state, view);
  rows("holders", (state?.holders ?? []).map((one) => [one.site, one.pool, one.endpoint ?? "outside a request",
    one.out, one.leaked, figure(`${one.oldest_s.toFixed(1)} s`), figure(`${one.held_s.toFixed(1)} s`)]));
  at("moments").replaceChildren();
  for (const moment of state?.moments ?? []) element("li", at("moments"), moment);
  rows("runs", view.runs.map((run) => [verdict(run.verdict), run.scenario, run.release, run.line, report(run)]));
}

async function ask() {
  clearTimeout(timer);
  if (asking || document.hidden) return;
  asking = true;
  let every = IDLE_MS;
  try {
    const answer = await fetch(`/rushhour/state?run=${encodeURIComponent(known.run)}&from=${known.next}`);
    if (answer.redirected) { location.href = "/login"; return; }
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const view = await answer.json();
    if (view.fresh) known.points = [];
    known.points.push(...view.points);
    Object.assign(known, { run: view.run, next: view.next });
    every = view.phase === "ready" ? IDLE_MS : EVERY_MS;
    show(view);
    if (view.fresh || view.points.length) draw();
  } catch (error) {
    at("phase").textContent = "gone";
    at("phase").className = "badge";
    at("words").textContent = `rushhour no longer answers (${error.message})`;
  }
  asking = false;
  timer = setTimeout(ask, every);
}

document.addEventListener("themechange", draw);
document.addEventListener("visibilitychange", ask);
ask();
