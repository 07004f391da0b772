"use strict";
// The page of `ddpm serve`, its part that watches a run. The charts are those of charts.js.

const watched = { run: null, events: null, figures: false, follow: true };

const runLines = (keys) => keys.map(([key, label], tone) => {
  const steps = watched.run.metrics.step || [], values = watched.run.metrics[key] || [];
  return { label, name: label, tone, points: steps.map((x, i) => ({ x, y: values[i] })).filter((p) => p.y !== null && p.y !== undefined) };
});

function addCharts() {
  if (watched.figures || typeof Chart === "undefined") return;
  watched.figures = true;
  const add = (title, y, keys, log) => chart(byId("run-charts"), { title, y, x: () => "step", lines: () => runLines(keys), log: () => log });
  add("Loss", "loss", [["loss", "training"], ["holdout_loss", "held out"], ["holdout_loss_ema", "held out, EMA"]], true);
  add("Speed", "images/s", [["images_per_s", "images/s"]], false);
}

// A redrawn legend keeps the keyboard's place.
function redraw() {
  for (const figure of figures) {
    const at = [...figure.legend.children].indexOf(document.activeElement);
    figure.draw();
    if (at >= 0 && figure.legend.children[at]) figure.legend.children[at].focus();
  }
}

function durationText(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (seconds < 60) return Math.round(seconds) + " s";
  return minutes < 60 ? minutes + " min" : Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
}

function showRun() {
  const run = watched.run, parts = [run.run, run.state];
  parts.push("step " + short(run.step) + (run.steps ? " of " + short(run.steps) : ""));
  if (Number.isFinite(run.loss)) parts.push("loss " + short(run.loss));
  if (Number.isFinite(run.images_per_s)) parts.push(short(run.images_per_s) + " images/s");
  if (Number.isFinite(run.eta_s)) parts.push(durationText(run.eta_s) + " left");
  byId("run-line").textContent = parts.join(", ");
  byId("run-progress").value = run.steps ? run.step / run.steps : 0;
  byId("run-message").textContent = run.message || "";
  byId("run-warnings").replaceChildren(...run.warnings.map((text) => element("li", {}, text)));
  if (run.metrics) {
    addCharts();
    redraw();
  }
  showGrids();
}

const gridSteps = () => [...new Set((watched.run.grids || []).map((grid) => grid.step))];

function showGrids() {
  const steps = gridSteps(), slider = byId("grid-step");
  byId("run-grids").hidden = steps.length === 0;
  if (steps.length === 0) return;
  slider.max = steps.length - 1;
  if (watched.follow) slider.value = slider.max;
  const step = steps[Math.min(Number(slider.value), steps.length - 1)];
  const text = short(step) + (watched.follow ? " (newest)" : "");
  byId("grid-at").textContent = text;
  slider.setAttribute("aria-valuetext", "step " + text);
  const chosen = watched.run.grids.filter((grid) => grid.step === step);
  const key = chosen.map((grid) => grid.url).join(" ");
  if (byId("grids").dataset.key === key) return;
  byId("grids").dataset.key = key;
  byId("grids").replaceChildren(...chosen.map((grid) => element("figure", {},
    element("figcaption", {}, grid.weights + " weights"), element("img", { src: grid.url, alt: "samples at step " + step + ", " + grid.weights + " weights" }))));
}

function openRun() {
  if (watched.events) return;
  watched.events = new EventSource("/v1/run/events");
  watched.events.addEventListener("run", () => shown(async () => {
    watched.run = await ask("/v1/run");
    showRun();
  }));
}

document.addEventListener("run", () => {
  byId("watch").hidden = false;
  openRun();
});
byId("grid-step").addEventListener("input", () => {
  watched.follow = byId("grid-step").value === byId("grid-step").max;
  showGrids();
});
// A hidden page needs no stream.
document.addEventListener("visibilitychange", () => {
  if (!watched.events) return;
  if (document.hidden) {
    watched.events.close();
  } else if (watched.events.readyState === EventSource.CLOSED) {
    watched.events = null;
    openRun();
  }
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (watched.run) redraw(); });
