"use strict";
(() => {
  const data = JSON.parse(document.getElementById("trend-data").textContent);
  const charts = document.getElementById("charts"), legend = document.getElementById("legend");
  const hidden = new Set();
  const { element, style } = page;

  // A night that failed stands out by the outline of its mark, whatever its line's colour.
  const signs = { circle: "●", square: "■", diamond: "◆", "triangle-up": "▲", cross: "✚", star: "★" };
  const outline = { pass: "--page", fail: "--fail", unknown: "--unknown" };

  function traces(panel) {
    return data.scenarios.map((scenario, at) => ({
      name: scenario.name,
      x: data.nights.map((_, night) => night),
      y: panel.values[at],
      visible: hidden.has(at) ? false : true,
      mode: "lines+markers",
      connectgaps: false,
      line: { color: style(`--${scenario.tone}`), width: 2 },
      marker: {
        size: 9,
        symbol: scenario.symbol,
        color: style(`--${scenario.tone}`),
        line: { width: data.verdicts[at].map((verdict) => (verdict === "fail" ? 2.5 : 1)), color: data.verdicts[at].map((verdict) => style(outline[verdict] ?? "--page")) },
      },
      customdata: data.verdicts[at],
      hovertemplate: `${scenario.name}: %{y} ${panel.unit} (%{customdata})<extra></extra>`,
    }));
  }

  function layout(last) {
    const ink = style("--ink"), muted = style("--muted");
    const count = data.nights.length, every = Math.max(1, Math.ceil(count / Math.max(2, Math.floor(charts.clientWidth / 130))));
    const ticks = data.nights.map((_, night) => night).filter((night) => (count - 1 - night) % every === 0);
    return {
      margin: { l: 58, r: 60, t: 8, b: last ? 34 : 14 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      showlegend: false, hovermode: "x unified",
      font: { family: style("--sans"), size: 12, color: muted },
      hoverlabel: { bgcolor: style("--raised"), bordercolor: style("--edge"), font: { color: ink } },
      xaxis: { range: [-0.4, count - 0.6], tickvals: ticks, ticktext: ticks.map((night) => data.nights[night]), showgrid: false, zeroline: false, linecolor: style("--edge"), fixedrange: true, showticklabels: last },
      yaxis: { rangemode: "tozero", gridcolor: style("--grid"), zerolinecolor: style("--edge"), nticks: 4, fixedrange: true },
    };
  }

  function draw() {
    data.panels.forEach((panel, at) => {
      if (!panel.box) return;
      Plotly.react(panel.box, traces(panel), layout(at === data.panels.length - 1), { displayModeBar: false, responsive: true });
    });
  }

  function build() {
    data.panels = data.panels.filter((panel) => panel.values.some((series) => series.some((value) => value !== null)));
    data.panels.forEach((panel) => {
      const section = element("section", "panel", charts);
      element("span", "", element("h3", "", section, panel.title), panel.unit);
      panel.box = element("div", "", section);
      panel.box.setAttribute("role", "img");
      panel.box.setAttribute("aria-label", `${panel.title}, night by night`);
    });
    data.scenarios.forEach((scenario, at) => {
      const key = element("button", scenario.tone, legend);
      key.type = "button";
      key.setAttribute("aria-pressed", "true");
      element("i", "", key, signs[scenario.symbol]).setAttribute("aria-hidden", "true");
      key.append(scenario.name);
      key.addEventListener("click", () => {
        if (!hidden.delete(at)) hidden.add(at);
        key.setAttribute("aria-pressed", String(!hidden.has(at)));
        draw();
      });
    });
  }

  page.unpackPlotly().then(() => {
    build();
    draw();
    document.addEventListener("themechange", draw);
    charts.dataset.ready = "yes";
  }).catch((error) => {
    charts.replaceChildren();
    element("p", "note", charts, `The charts cannot be drawn: ${error.message}. The table above holds the same nights.`);
    charts.dataset.ready = "no";
    console.error(error);
  });
})();
