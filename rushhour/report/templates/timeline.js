"use strict";
(() => {
  const data = JSON.parse(document.getElementById("timeline-data").textContent);
  const box = document.getElementById("timeline");
  const chart = document.getElementById("chart");
  const overlay = document.getElementById("overlay");
  const spoken = document.getElementById("spoken");
  const full = [0, data.end];
  const LONG_S = 300; // longer runs have their time axis in minutes
  const long = data.end > LONG_S;
  // A number of few digits on an axis of dates is a year to plotly: 1500 ms would be drawn in the year 1500. A whole
  // day is added, which the labels of the axis do not show.
  const DAY_MS = 86400000;
  const toAxis = (t) => (long ? DAY_MS + t * 1000 : t);
  const fromAxis = (x) => (long ? (new Date(typeof x === "string" ? `${x.replace(" ", "T")}Z` : x).getTime() - DAY_MS) / 1000 : x);
  const hidden = new Set();
  let range = full.slice(), cursor = null, geometry = null, markers = [];

  const { element, style } = page;
  const faint = (hex, share) => `rgba(${[1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)).join(",")},${share})`;
  const toX = (t) => geometry.left + ((t - range[0]) / (range[1] - range[0])) * geometry.width;
  const toTime = (x) => range[0] + ((x - geometry.left) / geometry.width) * (range[1] - range[0]);
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function clock(t) {
    if (!long) return `${t.toFixed(range[1] - range[0] < 20 ? 2 : 1)} s`;
    const whole = Math.floor(t), pad = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(whole / 3600), rest = `${pad(Math.floor(whole / 60) % 60)}:${pad(whole % 60)}`;
    return hours ? `${hours}:${rest}` : rest;
  }
  function figure(value, unit) {
    if (value === null || value === undefined) return "–";
    if (unit === "ms") return value >= 1000 ? `${(value / 1000).toFixed(value >= 1e4 ? 1 : 2)} s` : `${value.toFixed(value < 10 ? 1 : 0)} ms`;
    if (unit === "cores" || unit === "s") return value.toFixed(2);
    return value.toLocaleString("en", { maximumFractionDigits: 1 });
  }

  // Returns the last index whose time is at or before t, or -1.
  function upTo(times, t) {
    let low = 0, high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] <= t) low = middle + 1; else high = middle;
    }
    return low - 1;
  }
  function valueAt(series, t) {
    const at = upTo(series.t, t), held = series.mark === "step" || series.mark === "limit" || series.mark === "area";
    if (held) return at < 0 ? null : series.v[at];
    const near = [at, at + 1].filter((i) => i >= 0 && i < series.t.length)
      .sort((a, b) => Math.abs(series.t[a] - t) - Math.abs(series.t[b] - t))[0];
    const reach = Math.max((series.width ?? 1) / 2, data.end / 400, 0.75);
    return near !== undefined && Math.abs(series.t[near] - t) <= reach ? series.v[near] : null;
  }
  const greatest = (series) => series.v.reduce((a, b) => (b === null ? a : Math.max(a ?? b, b)), null);

  function measure() {
    const printing = "printing" in document.documentElement.dataset; // fit all panels on one sheet of A4 or Letter
    const outer = printing ? 680 : box.clientWidth, narrow = outer < 620;
    geometry = {
      outer, narrow, left: narrow ? 44 : 54, right: narrow ? 8 : 14,
      head: narrow ? 42 : 26, plot: printing ? 60 : narrow ? 84 : 96, gap: 10, bottom: 40, rowHeight: 20,
    };
    geometry.width = outer - geometry.left - geometry.right;
    geometry.unit = geometry.head + geometry.plot + geometry.gap;
  }

  // Places the flags of moments in as few rows as possible without overlap.
  function placeMoments(limit) {
    const ends = [];
    markers.forEach((marker) => {
      const x = toX(marker.moment.t), outside = x < geometry.left - 1 || x > geometry.left + geometry.width + 1;
      marker.flag.hidden = marker.pole.hidden = outside;
      if (outside) return;
      const wide = marker.flag.offsetWidth, back = x + wide > geometry.outer - 2;
      const start = Math.max(back ? x - wide : x, 0);
      let row = ends.findIndex((end) => end + 6 <= start);
      if (row < 0) row = ends.length;
      if (limit !== undefined) row = Math.min(row, limit - 1);
      ends[row] = start + wide;
      marker.flag.style.left = `${start}px`;
      marker.flag.style.top = `${row * geometry.rowHeight}px`;
      marker.flag.classList.toggle("back", back);
      marker.pole.style.left = `${x}px`;
      marker.pole.style.top = `${row * geometry.rowHeight + 4}px`;
      marker.pole.style.height = `${geometry.height - geometry.bottom - row * geometry.rowHeight - 4}px`;
    });
    return ends.length;
  }

  function drawOverlay() {
    overlay.replaceChildren();
    for (const [, , why] of data.shaded) element("div", "shade", overlay).dataset.why = why;
    markers = data.moments.map((moment) => {
      const pole = element("div", `pole ${moment.tone}`, overlay);
      const flag = element("button", `flag ${moment.tone}`, overlay, moment.label);
      flag.type = "button";
      element("span", "at", flag, clock(moment.t));
      flag.title = `${moment.detail || moment.label} (zoom to it)`;
      flag.addEventListener("click", () => { cursor = moment.t; zoom(moment.t - 5, moment.t + 5); });
      return { moment, pole, flag };
    });
    geometry.rows = Math.max(placeMoments(), markers.length ? 1 : 0);
    geometry.top = geometry.rows * geometry.rowHeight + 6;
    geometry.height = geometry.top + data.panels.length * geometry.unit - geometry.gap + geometry.bottom;
    data.panels.forEach((panel, at) => {
      const head = element("div", "phead", overlay);
      head.style.top = `${geometry.top + at * geometry.unit}px`;
      head.style.left = `${geometry.left}px`;
      head.style.width = `${geometry.width}px`;
      const title = element("span", "ptitle", head, panel.title);
      element("span", "punit", title, panel.unit === "ms" ? "ms, log" : panel.unit);
      const legend = element("span", "plegend", head);
      panel.series.forEach((series, index) => {
        const key = `${panel.key}/${index}`, item = element("button", "key", legend);
        item.type = "button";
        item.title = "show or hide";
        item.setAttribute("aria-pressed", String(!hidden.has(key)));
        element("i", `swatch ${series.mark} ${series.tone}`, item);
        element("span", "", item, series.name);
        series.shown = element("b", "value", item);
        item.addEventListener("click", () => {
          hidden.has(key) ? hidden.delete(key) : hidden.add(key);
          item.setAttribute("aria-pressed", String(!hidden.has(key)));
          Plotly.react(chart, traces(), layout(), config());
        });
      });
    });
    const line = element("div", "cursor", overlay);
    line.id = "cursor";
    line.style.top = `${geometry.top}px`;
    line.style.height = `${geometry.height - geometry.top - geometry.bottom}px`;
    element("span", "", line);
  }

  function traces() {
    return data.panels.flatMap((panel, at) => panel.series.map((series, index) => {
      const colour = style(`--${series.tone}`), bar = series.mark === "bar", limit = series.mark === "limit";
      const common = {
        x: series.t.map(toAxis), y: series.v, name: series.name, xaxis: "x",
        yaxis: at ? `y${at + 1}` : "y", hoverinfo: "skip", showlegend: false,
        visible: !hidden.has(`${panel.key}/${index}`),
      };
      if (bar) return { ...common, type: "bar", width: series.width * (long ? 1000 : 1), marker: { color: colour, line: { width: 0 } } };
      // Fill leaked connections from zero, and those in use from the leaked line up.
      const leaked = series.mark === "area", used = panel.key.startsWith("pool-") && series.mark === "step";
      return {
        ...common, type: "scatter", mode: "lines", connectgaps: false,
        line: {
          color: colour, width: limit ? 1.2 : series.tone === "grey" ? 1.2 : 1.6, dash: limit ? "6px,4px" : "solid",
          shape: series.mark === "step" || series.mark === "area" || limit ? "hv" : "linear",
        },
        ...(leaked ? { fill: "tozeroy", fillcolor: faint(colour, 0.3) } : used ? { fill: "tonexty", fillcolor: faint(colour, 0.18) } : {}),
      };
    }));
  }

  function yRange(panel) {
    const values = panel.series.flatMap((series) => series.v).filter((value) => value !== null);
    const top = values.reduce((a, b) => Math.max(a, b), 0);
    if (!panel.log) return [0, Math.max(top, panel.top) * 1.1];
    const low = values.filter((value) => value > 0).reduce((a, b) => Math.min(a, b), Infinity);
    if (low === Infinity) return [0, 3];
    return [Math.floor(Math.log10(low)), Math.max(Math.log10(top * 1.3), Math.floor(Math.log10(low)) + 1)];
  }

  function layout() {
    const ink = style("--muted"), grid = style("--grid");
    const inner = data.panels.length * geometry.unit - geometry.gap;
    const made = {
      width: geometry.outer, height: geometry.height, hovermode: false, barmode: "stack", bargap: 0,
      dragmode: "zoom", paper_bgcolor: "transparent", plot_bgcolor: "transparent", showlegend: false,
      margin: { l: geometry.left, r: geometry.right, t: geometry.top, b: geometry.bottom, pad: 0 },
      font: { family: style("--sans"), size: 11, color: ink },
      xaxis: {
        type: long ? "date" : "linear", range: range.map(toAxis), anchor: data.panels.length > 1 ? `y${data.panels.length}` : "y",
        minallowed: toAxis(0), maxallowed: toAxis(data.end), gridcolor: grid, zeroline: false, linecolor: grid,
        ticks: "outside", ticklen: 4, tickcolor: grid, nticks: geometry.narrow ? 6 : 12,
        ...(long ? { tickformat: data.end >= 3600 ? "%-H:%M:%S" : "%M:%S" } : {}),
        title: { text: `time since the load started (${long ? (data.end >= 3600 ? "h:min:s" : "min:s") : "s"})`, font: { size: 11 }, standoff: 6 },
      },
    };
    data.panels.forEach((panel, at) => {
      const upper = 1 - (at * geometry.unit + geometry.head) / inner;
      const whole = panel.unit !== "cores" && panel.unit !== "s"; // counts have no fractions
      const log = panel.log ? {
        type: "log", tickvals: [0.1, 1, 10, 100, 1000, 10000, 100000],
        ticktext: ["0.1 ms", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"],
      } : { nticks: 5, rangemode: "tozero", ...(whole && yRange(panel)[1] < 6 ? { dtick: 1 } : {}) };
      made[at ? `yaxis${at + 1}` : "yaxis"] = {
        domain: [Math.max(upper - geometry.plot / inner, 0), upper], anchor: "x", range: yRange(panel), fixedrange: true,
        gridcolor: grid, zeroline: false, showline: false, tickfont: { size: 10.5 }, separatethousands: true, ...log,
      };
    });
    return made;
  }
  const coarse = matchMedia("(pointer: coarse)");
  const config = () => ({ displayModeBar: false, staticPlot: coarse.matches, doubleClick: false, responsive: false });

  function follow() {
    placeMoments(geometry.rows);
    overlay.querySelectorAll(".shade").forEach((shade, at) => {
      const [from, to] = data.shaded[at].slice(0, 2).map((t) => clamp(toX(t), geometry.left, geometry.left + geometry.width));
      Object.assign(shade.style, { left: `${from}px`, width: `${to - from}px`, top: `${geometry.top}px`, height: `${geometry.height - geometry.top - geometry.bottom}px` });
    });
    const line = document.getElementById("cursor"), at = cursor === null ? NaN : toX(cursor);
    const seen = at >= geometry.left - 0.5 && at <= geometry.left + geometry.width + 0.5;
    line.hidden = !seen;
    if (seen) {
      line.style.left = `${at}px`;
      line.firstChild.textContent = clock(cursor);
    }
    for (const panel of data.panels) for (const series of panel.series) {
      series.shown.textContent = seen ? figure(valueAt(series, cursor), panel.unit)
        : series.mark === "limit" ? figure(greatest(series), panel.unit) : `max ${figure(greatest(series), panel.unit)}`;
      series.shown.classList.toggle("idle", !seen);
    }
    document.getElementById("reset").disabled = range[0] <= full[0] && range[1] >= full[1];
  }

  function zoom(from, to) {
    const least = Math.min(1, data.end), wide = clamp(to - from, least, data.end);
    const start = clamp((from + to - wide) / 2, 0, data.end - wide);
    Plotly.relayout(chart, { "xaxis.range": [toAxis(start), toAxis(start + wide)] });
  }
  function scaleBy(factor) {
    const centre = cursor !== null && cursor >= range[0] && cursor <= range[1] ? cursor : (range[0] + range[1]) / 2;
    zoom(centre - (centre - range[0]) * factor, centre + (range[1] - centre) * factor);
  }
  const reset = () => zoom(...full);

  function speak() {
    if (cursor === null) return;
    spoken.textContent = `${clock(cursor)}. ` + data.panels.map((panel) =>
      `${panel.title}: ` + panel.series.map((series) => `${series.name} ${figure(valueAt(series, cursor), panel.unit)}`).join(", ")).join(". ");
  }

  function draw() {
    measure();
    drawOverlay();
    chart.style.height = `${geometry.height}px`;
    return Plotly.react(chart, traces(), layout(), config()).then(follow);
  }

  function listen() {
    chart.on("plotly_relayout", () => {
      const shown = chart.layout.xaxis.range.map(fromAxis);
      range = [clamp(shown[0], 0, data.end), clamp(shown[1], 0, data.end)];
      follow();
    });
    const point = (event) => {
      const x = event.clientX - box.getBoundingClientRect().left;
      if (x < geometry.left || x > geometry.left + geometry.width) return;
      cursor = clamp(toTime(x), 0, data.end);
      follow();
    };
    box.addEventListener("pointermove", point);
    box.addEventListener("pointerdown", point);
    box.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") { cursor = null; follow(); }
    });
    chart.addEventListener("dblclick", reset);
    document.getElementById("in").addEventListener("click", () => scaleBy(0.5));
    document.getElementById("out").addEventListener("click", () => scaleBy(2));
    document.getElementById("reset").addEventListener("click", reset);
    const keys = {
      ArrowLeft: (big) => move(big ? -0.05 : -0.005), ArrowRight: (big) => move(big ? 0.05 : 0.005),
      Home: () => { cursor = range[0]; }, End: () => { cursor = range[1]; },
      "+": () => scaleBy(0.5), "=": () => scaleBy(0.5), "-": () => scaleBy(2), 0: reset, Escape: reset,
    };
    const move = (part) => { cursor = clamp((cursor ?? range[0]) + part * (range[1] - range[0]), range[0], range[1]); };
    box.addEventListener("keydown", (event) => {
      if (event.target !== box || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
      event.preventDefault();
      keys[event.key](event.shiftKey);
      follow();
      speak();
    });
    document.addEventListener("themechange", draw);
    coarse.addEventListener("change", draw);
    const resized = () => !("printing" in document.documentElement.dataset) && box.clientWidth !== geometry.outer;
    new ResizeObserver(() => { if (resized()) draw(); }).observe(box);
  }

  page.unpackPlotly().then(draw).then(() => { listen(); box.dataset.ready = "yes"; }).catch((error) => {
    box.replaceChildren();
    element("p", "note", box, `The timeline cannot be drawn: ${error.message}. The tables below hold the same run.`);
    box.dataset.ready = "no";
    console.error(error);
  });
})();
