"use strict";

const page = JSON.parse(document.getElementById("charts").textContent);
const config = {
  responsive: true,
  displaylogo: false,
  locale: document.documentElement.lang,
  modeBarButtons: [[{
    name: "save",
    title: page.save,
    icon: Plotly.Icons.camera,
    click: (div) => Plotly.downloadImage(div, { format: "png", scale: 2, filename: div.id }),
  }]],
};
const drawn = page.charts.map((chart) => ({ ...chart, div: document.getElementById(chart.id) }));
const small = window.matchMedia("(max-width: 900px)");
const fit = () => Promise.all(drawn.map(({ div, wide, narrow }) => Plotly.relayout(div, small.matches ? narrow : wide)));

Plotly.register({ moduleType: "locale", name: "es", dictionary: {}, format: {} });
Promise.all(drawn.map(({ div, data, layout }) => Plotly.newPlot(div, data, layout, config)))
  .then(fit)
  .then(() => document.body.classList.add("drawn"));
small.addEventListener("change", fit);

// On paper there is no resize event: draw at the width of the page before printing, and go back afterwards.
const PAPER_WIDTH = 680;
window.addEventListener("beforeprint", () => drawn.forEach(({ div, narrow }) =>
  Plotly.relayout(div, { ...narrow, width: div.closest(".pair") ? PAPER_WIDTH / 2 - 12 : PAPER_WIDTH })));
window.addEventListener("afterprint", () => drawn.forEach(({ div, wide, narrow }) =>
  Plotly.relayout(div, { ...(small.matches ? narrow : wide), width: null, autosize: true })));
