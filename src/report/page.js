"use strict";
// The page of `ddpm report`: draws the data in the element #data. Texts of users enter the page as text nodes only.

const data = JSON.parse(document.getElementById("data").textContent);
const runs = data.runs;
const several = runs.length > 1;
const settings = { axis: "step", smoothing: 0.6, log: false };

// Parts of the page

function section(id, title) {
  const made = element("section", { id: id, "aria-labelledby": id + "-title" }, element("h2", { id: id + "-title" }, title));
  document.getElementById("main").append(made);
  document.getElementById("contents").append(element("a", { href: "#" + id }, title), " ");
  return made;
}

function table(head, rows) {
  const body = element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell)))));
  const header = element("thead", {}, element("tr", {}, ...head.map((cell) => element("th", { scope: "col" }, cell))));
  return element("div", { class: "wide", tabindex: "0", role: "region", "aria-label": head.join(", ") }, element("table", {}, header, body));
}

// A choice of the run, if there are several. Calls `changed` with the run's number, also at once.
function chooseRun(parent, changed) {
  const holder = element("div");
  if (several) {
    const select = element("select", { onchange: () => changed(Number(select.value), holder) },
      ...runs.map((run, i) => element("option", { value: i }, run.name)));
    parent.append(element("p", {}, element("label", {}, "run ", select)));
  }
  parent.append(holder);
  changed(0, holder);
}

// Numbers

function duration(seconds) {
  if (!Number.isFinite(seconds)) return "";
  const minutes = Math.floor(seconds / 60);
  if (seconds < 60) return seconds.toFixed(1) + " s";
  if (minutes < 60) return minutes + " min " + Math.floor(seconds % 60) + " s";
  return Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
}

// The last number of a column; null if there is none.
function last(run, key) {
  const column = (run.metrics[key] || []).filter((x) => x !== null);
  return column.length ? column[column.length - 1] : null;
}

// The run's x values on the chosen axis.
function axisOf(run) {
  if (settings.axis === "hours") return (run.metrics.seconds || []).map((s) => s / 3600);
  return run.metrics[settings.axis] || [];
}

// Where a step is on the chosen axis: between the lines of metrics around it.
function place(run, step) {
  if (settings.axis === "step") return step;
  const steps = run.metrics.step || [], x = axisOf(run);
  let end = steps.findIndex((s) => s >= step);
  if (end < 0) end = steps.length - 1;
  if (end < 0) return null;
  const from = end > 0 ? steps[end - 1] : 0, fromX = end > 0 ? x[end - 1] : 0;
  const share = steps[end] > from ? Math.min(1, (step - from) / (steps[end] - from)) : 1;
  return fromX + share * (x[end] - fromX);
}

function points(run, key) {
  const x = axisOf(run), y = run.metrics[key] || [];
  return x.map((at, i) => ({ x: at, y: y[i] })).filter((p) => p.x !== null && p.y !== null && p.y !== undefined);
}

// Exponential smoothing without the bias of its beginning.
function smoothed(list, factor) {
  let sum = 0, weight = 0;
  return list.map((p) => {
    sum = factor * sum + (1 - factor) * p.y;
    weight = factor * weight + (1 - factor);
    return { x: p.x, y: sum / weight };
  });
}

// Sections

function stateOf(run) {
  const final = run.events.filter((e) => e.kind !== "warning" && e.kind !== "skipped").pop();
  if (!final) return "";
  return { start: "running", restart: "running", stop: "stopped", end: "finished", error: "error" }[final.kind];
}

function summary() {
  const part = section("summary", "Summary");
  const best = (run) => run.quality.reduce((found, q) => (q.frechet < (found ? found.frechet : Infinity) ? q : found), null);
  part.append(table(["run", "state", "step", "images", "loss", "held-out loss (EMA)", "best distance", "time", "images/s", "memory"],
    runs.map((run) => {
      const found = best(run), memory = last(run, "memory_mib");
      return [run.name, stateOf(run) || "", short(last(run, "step")), short(last(run, "images")), short(last(run, "loss")),
        short(last(run, "holdout_loss_ema")), found ? short(found.frechet) + " at step " + short(found.step) : "",
        duration(last(run, "seconds") ?? NaN), short(last(run, "images_per_s")), memory === null ? "" : short(Math.round(memory)) + " MiB"];
    })));
  if (data.warnings.length)
    part.append(element("p", {}, "Left out of this page:"), element("ul", {}, ...data.warnings.map((text) => element("li", {}, text))));
  part.append(element("p", { class: "note" },
    "In the charts, a dashed line is a restart, a stop or the end; a short thick line at the bottom is a warning or skipped steps, which are listed below. Thin lines are as logged, thick ones smoothed."));
}

function losses() {
  const charts = element("div", { class: "charts" });
  section("loss", "Loss").append(charts);
  metricChart(charts, "Training loss", "L_simple", [["loss", "loss"]], { smooth: true, loss: true });
  metricChart(charts, "Held-out loss", "L_simple", [["holdout_loss", "raw weights"], ["holdout_loss_ema", "EMA weights", true]], { loss: true });
  const quarters = [["loss_q1", "t in the first quarter (little noise)"], ["loss_q2", "second quarter"], ["loss_q3", "third quarter"], ["loss_q4", "last quarter"]];
  runs.forEach((run) => metricChart(charts, "Loss by quarter of t" + (several ? ": " + run.name : ""), "L_simple", quarters,
    { smooth: true, loss: true, runs: [run] }));
}

function course() {
  const charts = element("div", { class: "charts" });
  section("course", "Optimization and speed").append(charts);
  metricChart(charts, "Learning rate", "learning rate", [["lr", "learning rate"]]);
  metricChart(charts, "Gradient norm", "norm", [["grad_norm", "gradient norm"]], { smooth: true });
  metricChart(charts, "Speed", "images/s", [["images_per_s", "images/s"]]);
  metricChart(charts, "Share of time spent waiting for data", "share", [["data_wait", "waiting"]]);
  metricChart(charts, "Peak memory", "MiB", [["memory_mib", "memory"]]);
  if (runs.some((run) => (run.metrics.skipped || []).some((n) => n > 0)))
    metricChart(charts, "Skipped steps (gradient not finite)", "steps", [["skipped", "skipped"]]);
}

function samples() {
  if (!runs.some((run) => run.samples.length)) return;
  chooseRun(section("samples", "Samples through training"), (number, holder) => showSamples(runs[number], holder));
}

function showSamples(run, holder) {
  const grids = element("div", { class: "grids", "aria-live": "polite" });
  const at = element("output", {});
  const slider = element("input", {
    type: "range", min: 0, max: Math.max(0, run.samples.length - 1), step: 1, value: Math.max(0, run.samples.length - 1),
    "aria-label": "step of the samples", oninput: () => show(),
  });
  const show = () => {
    const sample = run.samples[Number(slider.value)];
    at.textContent = sample ? "step " + short(sample.step) : "";
    slider.setAttribute("aria-valuetext", at.textContent);
    if (sample) grids.replaceChildren(...sample.pictures.map((picture) => element("figure", {},
      element("figcaption", {}, picture.weights === "raw" ? "raw weights" : "EMA weights (" + picture.weights + ")"),
      element("img", { src: picture.src, alt: "grid of samples at step " + sample.step + ", " + picture.weights + " weights" }))));
  };
  holder.replaceChildren(run.samples.length ? element("div", { class: "slider" }, slider, at) : element("p", {}, "This run has no sample grids (train.sample_every)."), grids);
  show();
}

function schedules() {
  const have = runs.filter((run) => run.schedule);
  if (!have.length) return;
  const charts = element("div", { class: "charts" });
  section("schedule", "Noise schedule").append(charts);
  const lines = (key) => have.map((run) => ({
    label: (several ? run.name + ": " : "") + run.schedule.kind, tone: runs.indexOf(run),
    points: run.schedule.t.map((t, i) => ({ x: t, y: run.schedule[key][i] })),
  }));
  for (const [title, key, log] of [["beta", "beta", false], ["alpha_bar", "alpha_bar", false], ["SNR = alpha_bar / (1 - alpha_bar)", "snr", true]])
    chart(charts, { title, y: key, x: () => "t", lines: () => lines(key), log: () => log });
}

function distances() {
  const measured = runs.filter((run) => run.quality.length), swept = runs.flatMap((run) => run.sweeps.map((sweep) => ({ run, sweep })));
  if (!measured.length && !swept.length) return;
  const charts = element("div", { class: "charts" });
  const part = section("distances", "Distance of the samples from the data");
  part.append(charts);
  if (measured.length) chart(charts, {
    title: "Frechet distance during training", y: "distance", x: axisTitle, marks: () => eventsOf(measured),
    lines: () => measured.map((run) => ({
      label: several ? run.name : "distance", tone: runs.indexOf(run),
      points: run.quality.filter((q) => typeof q.frechet === "number").map((q) => ({ x: place(run, q.step), y: q.frechet })),
    })),
  });
  for (const { run, sweep } of swept) {
    const methods = [...new Set(sweep.cells.map((cell) => cell.method))];
    chart(charts, {
      title: (several ? run.name + ": " : "") + sweep.name, y: "distance", x: () => "network calls per image", logX: true, log: () => true,
      lines: () => methods.map((method, i) => ({
        label: method, tone: i,
        points: sweep.cells.filter((c) => c.method === method).map((c) => ({ x: c.steps, y: c.frechet })).sort((a, b) => a.x - b.x),
      })),
    });
  }
  for (const run of measured)
    part.append(table(["run", "step", "distance", "standard error", "best so far", "fault"],
      run.quality.map((q) => [run.name, short(q.step), short(q.frechet), short(q.frechet_error), q.best ? "yes" : "", q.fault || ""])));
}

function configs() {
  if (!runs.some((run) => run.config.length)) return;
  const part = section("config", "Settings");
  if (several) {
    const keys = [...new Set(runs.flatMap((run) => run.config.map(([key]) => key)))];
    const values = runs.map((run) => new Map(run.config));
    const differ = keys.filter((key) => new Set(values.map((map) => map.get(key))).size > 1);
    part.append(element("h3", {}, "Differences between the runs"));
    part.append(differ.length ? table(["key", ...runs.map((run) => run.name)], differ.map((key) => [key, ...values.map((map) => map.get(key) ?? "")]))
      : element("p", {}, "The runs have the same settings."));
  }
  for (const run of runs) for (const former of run.former)
    part.append(element("h3", {}, (several ? run.name + ": " : "") + "changes after " + former.file), table(["key", "was", "became"], former.changes));
  chooseRun(part, (number, holder) => showConfig(runs[number], holder));
}

function showConfig(run, holder) {
  const rows = table(["key", "value"], run.config);
  const filter = element("input", {
    type: "search", oninput: () => {
      for (const row of rows.querySelectorAll("tbody tr")) row.hidden = !row.textContent.toLowerCase().includes(filter.value.toLowerCase());
    },
  });
  holder.replaceChildren(element("details", {}, element("summary", {}, "all settings"),
    element("p", {}, element("label", {}, "show only ", filter)), rows));
}

function dataSummary() {
  const have = runs.filter((run) => run.data.length);
  if (!have.length) return;
  const keys = [...new Set(have.flatMap((run) => run.data.map(([key]) => key)))];
  section("data", "Data and checkpoint").append(table(["", ...have.map((run) => run.name)],
    keys.map((key) => [key, ...have.map((run) => (run.data.find((row) => row[0] === key) || ["", ""])[1])])));
}

function events() {
  const part = section("events", "Restarts, skipped steps and warnings");
  const rows = runs.flatMap((run) => run.events.map((e) => [
    ...(several ? [run.name] : []), short(e.step), e.time, element("span", { class: "kind " + e.kind }, e.kind), e.text]));
  part.append(rows.length ? table([...(several ? ["run"] : []), "step", "time", "kind", "message"], rows) : element("p", {}, "None were recorded."));
}

// Settings of the charts

function redraw() {
  document.getElementById("smoothing-value").textContent = settings.smoothing.toFixed(2);
  for (const figure of figures) figure.draw();
}

function listen() {
  const on = (id, kind, change) => document.getElementById(id).addEventListener(kind, (event) => { change(event.target); redraw(); });
  on("axis", "change", (select) => { settings.axis = select.value; });
  on("smoothing", "input", (slider) => { settings.smoothing = Number(slider.value); });
  on("log", "change", (box) => { settings.log = box.checked; });
  document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

Chart.defaults.font.family = "system-ui, sans-serif";
document.getElementById("made").textContent = "Made by " + data.program + ", " + data.made + ".";
for (const part of [summary, losses, course, samples, schedules, distances, configs, dataSummary, events]) part();
listen();
redraw();
