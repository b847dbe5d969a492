"use strict";
// Sets the theme before the page is drawn: the reader's last choice, else the system's preference.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try { chosen = localStorage.getItem("rushhour-theme"); } catch { /* a browser may refuse storage to files */ }
  const apply = () => {
    document.documentElement.dataset.theme = chosen ?? (system.matches ? "dark" : "light");
    document.dispatchEvent(new Event("themechange"));
  };
  const toggle = () => {
    chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("rushhour-theme", chosen); } catch { /* as above */ }
    apply();
  };
  system.addEventListener("change", apply);
  addEventListener("beforeprint", () => {
    Object.assign(document.documentElement.dataset, { theme: "light", printing: "yes" });
    document.dispatchEvent(new Event("themechange"));
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.printing;
    apply();
  });
  addEventListener("DOMContentLoaded", () => document.getElementById("theme").addEventListener("click", toggle));
  apply();
})();
