"use strict";
// draws every chart, in the colours of the page, and again when those change
window.ampmixViews = {};
(function () {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  function config() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const text = {labelColor: colour("--ink"), titleColor: colour("--ink"), labelFontSize: 12,
      titleFontSize: 12, titleFontWeight: "normal"};
    return {
      background: "transparent", font: "system-ui, sans-serif",
      view: {stroke: colour("--line")}, rule: {color: colour("--soft")},
      axis: {...text, gridColor: colour("--line"), domainColor: colour("--soft"),
        tickColor: colour("--soft")},
      legend: {...text, symbolBaseFillColor: colour("--ink"), symbolBaseStrokeColor: colour("--ink")}
    };
  }
  async function draw() {
    for (const place of document.querySelectorAll(".chart")) {
      const spec = JSON.parse(document.getElementById(place.id + "-spec").textContent);
      const width = place.clientWidth;
      if (width < 480) {  // a phone: names beside the plot would leave no room for it
        for (const layer of spec.layer || []) {
          const y = layer.encoding && layer.encoding.y;
          if (y && y.axis && y.axis.labelLimit) { y.axis.labelLimit = Math.round(width * 0.4); }
        }
      }
      const made = await vegaEmbed(place, spec, {actions: false, renderer: "svg", config: config()});
      window.ampmixViews[place.id] = made.view;
    }
    document.documentElement.dataset.drawn = "yes";
    document.dispatchEvent(new Event("ampmix-drawn"));
  }
  dark.addEventListener("change", draw);
  draw();
})();
