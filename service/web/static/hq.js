"use strict";
// The console's charts, drawn by plotly from the figures in the page; and "/" leads to the search.
// Every page works without this file.

// What the pages' policy forbids of plotly, in the way that it allows: style attributes as
// properties, style elements with the page's nonce.
{
  const create = Document.prototype.createElement;
  const nonce = document.querySelector("style[nonce]")?.nonce;
  Document.prototype.createElement = function (name, ...rest) {
    const element = create.call(this, name, ...rest);
    if (nonce && String(name).toLowerCase() === "style") element.nonce = nonce;
    return element;
  };
  const set = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function (name, value) {
    if (name === "style" && this.style) this.style.cssText = value;
    else set.call(this, name, value);
  };
}

const theme = () => {
  const style = getComputedStyle(document.documentElement);
  return name => style.getPropertyValue(`--${name}`).trim();
};

// "@c1" and its like become the theme's colours, wherever they stand.
const painted = (value, color) => {
  if (typeof value === "string") return value.startsWith("@") ? color(value.slice(1)) : value;
  if (Array.isArray(value)) return value.map(item => painted(item, color));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, painted(item, color)]));
  }
  return value;
};

const draw = async plot => {
  const plotly = window.Plotly || window.moduleName;
  const figure = JSON.parse(document.getElementById(plot.dataset.chart).textContent);
  const color = theme();
  const narrow = plot.clientWidth < 520;
  const outlines = plot.dataset.outlines && await (await fetch(plot.dataset.outlines)).json();
  const isMap = plot.classList.contains("is-map");
  const axis = { gridcolor: "@grid", linecolor: "@line", zerolinecolor: "@line", automargin: true, tickangle: 0, fixedrange: !isMap };
  const base = {
    autosize: true,
    height: plot.clientHeight,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: "@soft" },
    margin: { l: 8, r: 8, t: 8, b: 8 },
    hoverlabel: { bgcolor: "@card", bordercolor: "@edge", font: { color: "@ink", size: 13 }, align: "left" },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: "@ink" } },
    dragmode: isMap ? "pan" : false,
  };
  const layout = { ...base, ...figure.layout };
  for (const name of Object.keys(layout)) {
    if (/^[xy]axis\d*$/.test(name)) layout[name] = { ...axis, ...layout[name] };
  }
  for (const name of ["xaxis", "yaxis"]) layout[name] ??= { ...axis };
  if (narrow && layout.xaxis.nticks) layout.xaxis = { ...layout.xaxis, nticks: 4 };
  if (narrow) layout.legend = { ...layout.legend, font: { color: "@ink", size: 11 } };
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: false,
    scrollZoom: isMap,
    doubleClick: "reset",
    showTips: false,
  };
  if (outlines) {
    figure.data.unshift({
      type: "scatter", mode: "lines", x: outlines.lons, y: outlines.lats, fill: "toself",
      fillcolor: "@land", line: { color: "@border", width: 1 }, hoverinfo: "skip", showlegend: false,
    });
  }
  return plotly.newPlot(plot, painted(figure.data, color), painted(layout, color), config).then(() => {
    // The picture is described by the element around it; what is inside is not for the keyboard.
    plot.dataset.drawn = "true";
  });
};

const linkOf = event => event.points?.[0]?.customdata?.url;

const drawAll = () => {
  for (const plot of document.querySelectorAll(".plot[data-chart]")) {
    draw(plot).then(() => {
      if (plot.dataset.clicks) return;
      plot.dataset.clicks = "true";
      plot.on("plotly_click", event => {
        const url = linkOf(event);
        if (url) location.href = url;
      });
    });
  }
};

addEventListener("DOMContentLoaded", () => {
  if (document.querySelector(".plot[data-chart]")) {
    drawAll();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    for (const zoom of document.querySelectorAll("button[data-zoom]")) {
      zoom.hidden = false;
      zoom.addEventListener("click", () => zoomBy(zoom));
    }
  }
});

// Zooming a map without a wheel: the same window around the same middle, smaller or larger.
const zoomBy = button => {
  const plotly = window.Plotly || window.moduleName;
  const plot = button.closest("section").querySelector(".plot");
  const factor = Number(button.dataset.zoom);
  if (!factor) return plot.home ? plotly.relayout(plot, plot.home) : undefined;
  const { xaxis, yaxis } = plot._fullLayout;
  plot.home ??= { "xaxis.range": [...xaxis.range], "yaxis.range": [...yaxis.range] };
  const changed = {};
  for (const [name, axis] of [["xaxis", xaxis], ["yaxis", yaxis]]) {
    const middle = (axis.range[0] + axis.range[1]) / 2;
    const half = ((axis.range[1] - axis.range[0]) / 2) * factor;
    changed[`${name}.range`] = [middle - half, middle + half];
  }
  return plotly.relayout(plot, changed);
};

addEventListener("keydown", event => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea")) return;
  const search = document.querySelector("input[type=search]");
  if (!search) return;
  event.preventDefault();
  search.focus();
  search.select();
});
