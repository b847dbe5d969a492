"use strict";
// Helpers of every page with charts: creating elements, reading theme colours, unpacking the chart library.
const page = {
  element(tag, name, parent, text) {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    parent?.append(made);
    return made;
  },
  style: (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim(),
  async unpackPlotly() {
    if (!("DecompressionStream" in window)) throw new Error("this browser is too old to unpack the chart library");
    const text = atob(document.getElementById("plotly").textContent.trim()), packed = new Uint8Array(text.length);
    for (let at = 0; at < text.length; at++) packed[at] = text.charCodeAt(at);
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    page.element("script", "", document.head, await new Response(stream).text());
    if (!window.Plotly) throw new Error("the chart library did not start");
  },
};
