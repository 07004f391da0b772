"use strict";
// The charts of the pages of `ddpm report` and `ddpm serve`: lines with marks, a legend of buttons, and keys that read
// the points. The functions at the end are for page.js of the report, which has the data and the settings.

const figures = []; // each with draw(), called again when a setting changes

// An element with attributes and children; a child that is no node becomes a text.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false) made.setAttribute(name, value);
  }
  for (const child of children) made.append(child);
  return made;
}

function short(x) {
  if (x === null || x === undefined || !Number.isFinite(x)) return "";
  if (Number.isInteger(x) && Math.abs(x) < 1e15) return x.toLocaleString("en");
  const size = Math.abs(x);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? x.toExponential(3).replace(/\.?0*e/, "e") : String(Number(x.toPrecision(4)));
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const faint = (hex) => hex + "55";

// Dashed lines at restarts, ticks at warnings and skipped steps.
const marks = {
  id: "marks",
  afterDatasetsDraw(chart) {
    const area = chart.chartArea, context = chart.ctx;
    for (const mark of chart.options.plugins.marks.list) {
      const x = chart.scales.x.getPixelForValue(mark.x);
      if (!(x >= area.left - 0.5 && x <= area.right + 0.5)) continue;
      const line = mark.kind === "restart" || mark.kind === "stop" || mark.kind === "end";
      context.save();
      context.strokeStyle = colour(mark.kind === "error" ? "error" : line ? "restart" : "warning");
      context.lineWidth = line ? 1 : 3;
      context.setLineDash(line ? [4, 3] : []);
      context.beginPath();
      context.moveTo(x, line ? area.top : area.bottom - 8);
      context.lineTo(x, area.bottom);
      context.stroke();
      context.restore();
    }
  },
};

function eventsOf(chosen) {
  return chosen.flatMap((run) => run.events.filter((e) => e.kind !== "start")
    .map((e) => ({ x: place(run, e.step), kind: e.kind })).filter((m) => m.x !== null));
}

function scale(title, log) {
  return {
    type: log ? "logarithmic" : "linear",
    title: { display: true, text: title, color: colour("faint") },
    ticks: { color: colour("faint"), maxRotation: 0, autoSkipPadding: 12, callback: (value) => short(value) },
    grid: { color: colour("line") },
  };
}

function datasetOf(line) {
  const tone = colour("c" + (line.tone % 8));
  return {
    label: line.label,
    data: line.points,
    borderColor: line.faint ? faint(tone) : tone,
    backgroundColor: line.faint ? faint(tone) : tone,
    borderWidth: line.faint ? 1 : 2,
    borderDash: line.dashed ? [6, 3] : [],
    pointRadius: line.points.length < 40 && !line.faint ? 2 : 0,
    pointHitRadius: 6,
    tension: 0,
    hidden: line.hidden || false,
  };
}

// A chart of lines {label, points, tone, faint, dashed}. `what` = {title, x(), y, lines(), log(), marks()}.
function chart(parent, what) {
  const canvas = element("canvas", { role: "img", tabindex: "0", "aria-label": what.title + ". Arrow keys read the points." });
  const legend = element("div", { class: "legend" });
  const reading = element("p", { class: "reading", "aria-live": "polite" });
  parent.append(element("figure", {}, element("figcaption", {}, what.title), element("div", { class: "canvas" }, canvas), legend, reading));
  const figure = { canvas, legend, reading, what, hidden: new Set(), chart: null, at: -1 };
  figure.draw = () => drawChart(figure);
  canvas.addEventListener("keydown", (event) => readByKey(figure, event));
  figures.push(figure);
  figure.draw();
}

function drawChart(figure) {
  if (figure.chart) figure.chart.destroy();
  const { what, hidden } = figure;
  const log = what.log ? what.log() : false;
  const lines = what.lines().filter((line) => line.points.length > 0);
  for (const line of lines) {
    if (log) line.points = line.points.filter((p) => p.y > 0);
    line.hidden = hidden.has(line.name || line.label);
  }
  figure.at = -1;
  figure.reading.textContent = lines.length ? "" : "Nothing was recorded.";
  figure.chart = new Chart(figure.canvas, {
    type: "line",
    data: { datasets: lines.map(datasetOf) },
    options: {
      animation: false, responsive: true, maintainAspectRatio: false, parsing: false, normalized: true,
      interaction: { mode: "nearest", axis: "x", intersect: false },
      scales: { x: scale(what.x(), what.logX || false), y: scale(what.y, log) },
      plugins: {
        legend: { display: false },
        marks: { list: what.marks ? what.marks() : [] },
        tooltip: {
          filter: (item) => !lines[item.datasetIndex].faint,
          callbacks: {
            title: (items) => (items.length ? what.x() + " " + short(items[0].parsed.x) : ""),
            label: (item) => item.dataset.label + ": " + short(item.parsed.y),
          },
        },
      },
    },
    plugins: [marks],
  });
  drawLegend(figure, lines);
}

// Buttons, so that keys reach them; a faint line goes with the line of its name.
function drawLegend(figure, lines) {
  const named = lines.filter((line) => !line.faint || !lines.some((other) => !other.faint && other.name === line.name));
  figure.legend.replaceChildren(...named.map((line) => {
    const name = line.name || line.label;
    const swatch = element("i", {});
    swatch.style.background = colour("c" + (line.tone % 8));
    return element("button", {
      type: "button", "aria-pressed": String(!figure.hidden.has(name)),
      onclick: (event) => {
        if (!figure.hidden.delete(name)) figure.hidden.add(name);
        const at = [...figure.legend.children].indexOf(event.currentTarget);
        figure.draw();
        figure.legend.children[at].focus();
      },
    }, swatch, line.label);
  }));
}

// Left and right move along the first visible line, Home and End to its ends.
function readByKey(figure, event) {
  const chart = figure.chart;
  const first = chart.data.datasets.findIndex((set, i) => chart.isDatasetVisible(i) && set.borderWidth > 1);
  if (first < 0) return;
  const count = chart.data.datasets[first].data.length;
  const moves = { ArrowLeft: figure.at < 0 ? count - 1 : figure.at - 1, ArrowRight: figure.at + 1, Home: 0, End: count - 1 };
  if (!(event.key in moves)) return;
  event.preventDefault();
  figure.at = Math.max(0, Math.min(count - 1, moves[event.key]));
  const x = chart.data.datasets[first].data[figure.at].x;
  const active = [], texts = [];
  chart.data.datasets.forEach((set, i) => {
    if (!chart.isDatasetVisible(i) || set.borderWidth === 1) return;
    const index = set.data.findIndex((p) => p.x >= x);
    if (index < 0) return;
    active.push({ datasetIndex: i, index });
    texts.push(set.label + " " + short(set.data[index].y));
  });
  chart.setActiveElements(active);
  chart.tooltip.setActiveElements(active, { x: chart.scales.x.getPixelForValue(x), y: chart.chartArea.top });
  chart.update("none");
  figure.reading.textContent = figure.what.x() + " " + short(x) + ": " + texts.join(", ");
}

// Lines of one column of the metrics of each run: as logged, and smoothed if that is wanted.
function metricLines(chosen, keys, smooth) {
  const lines = [];
  chosen.forEach((run, r) => keys.forEach(([key, label, dashed], k) => {
    const raw = points(run, key);
    const name = (several && chosen.length > 1 ? run.name + ": " : "") + label;
    const tone = chosen.length > 1 ? r : k;
    const soft = smooth && settings.smoothing > 0;
    if (soft) lines.push({ label: name, name, points: raw, tone, faint: true });
    lines.push({ label: name, name, points: soft ? smoothed(raw, settings.smoothing) : raw, tone, dashed: dashed && chosen.length > 1 });
  }));
  return lines;
}

const axisTitle = () => ({ step: "step", images: "images seen", hours: "hours of training" })[settings.axis];

function metricChart(parent, title, y, keys, options = {}) {
  const chosen = options.runs || runs;
  if (!chosen.some((run) => keys.some(([key]) => (run.metrics[key] || []).some((v) => v !== null)))) return;
  chart(parent, {
    title, y, x: axisTitle,
    lines: () => metricLines(chosen, keys, options.smooth),
    log: () => (options.loss ? settings.log : false),
    marks: () => eventsOf(chosen),
  });
}
