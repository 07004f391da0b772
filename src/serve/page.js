"use strict";
// The page of `ddpm serve`, its sampling part. Texts of users and of the server enter it as text nodes only.

const byId = (id) => document.getElementById(id);
const fieldNames = ["method", "steps", "eta", "sigma", "spacing", "guidance", "class", "seed", "num"];
const numbers = new Set(["steps", "eta", "guidance", "seed", "num"]);
const isFinal = (job) => job.state === "done" || job.state === "failed" || job.state === "cancelled";
let network = null; // GET /v1/model
let current = null; // the job that Cancel cancels

function say(message) {
  byId("problem").textContent = message;
  byId("problem").hidden = message === "";
}

// The JSON of an answer. Throws an Error with the server's message.
async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer; was ddpm serve stopped?");
  }
  const json = await answer.json().catch(() => ({ error: "the answer is no JSON" }));
  if (answer.status === 401) byId("login").hidden = false;
  if (!answer.ok) throw new Error(json.error);
  return json;
}

const send = (path, json) => ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(json) });

// The form

function fillSelect(select, words, usual) {
  select.replaceChildren(element("option", { value: "" }, "as in the checkpoint" + (usual ? " (" + usual + ")" : "")),
    ...words.map((word) => element("option", { value: word }, word)));
}

function fillForm() {
  const usual = network.defaults;
  fillSelect(byId("method"), network.methods, usual.method);
  fillSelect(byId("sigma"), network.sigmas, usual.sigma);
  fillSelect(byId("spacing"), network.spacings, usual.spacing);
  byId("steps").max = network.timesteps;
  for (const name of ["steps", "eta", "guidance"]) byId(name).placeholder = usual[name];
  byId("guidance-field").hidden = !network.guidance;
  byId("class-field").hidden = network.classes === 0;
  byId("class").replaceChildren(element("option", { value: "" }, "all in turn"), ...Array.from({ length: network.classes }, (_, i) =>
    element("option", { value: i }, network.class_names[i] || String(i))));
  // A start that is quick: few steps of a method for few steps.
  byId("method").value = network.methods.includes("auto") ? "auto" : "";
  byId("steps").value = Math.min(20, network.timesteps);
  byId("steps-list").value = [5, 10, 20, 50].filter((n) => n <= network.timesteps).join(", ");
}

// What the form asks for, as the API wants it. An empty field is left to the checkpoint.
function request() {
  const wish = {};
  for (const name of fieldNames) {
    const text = byId(name).value.trim();
    if (text === "") continue;
    wish[name] = numbers.has(name) || name === "class" ? Number(text) : text;
  }
  return wish;
}

function useSettings(wish) {
  for (const name of fieldNames) byId(name).value = name in wish ? wish[name] : "";
  byId("sample").scrollIntoView();
  byId("go").focus();
}

// "ddim, 50 steps, seed 0, 4 images"
function titleOf(job) {
  const s = job.settings;
  const parts = [s.method, s.steps + " steps", "seed " + s.seed, job.num + (job.num === 1 ? " image" : " images")];
  if (s.eta > 0) parts.splice(2, 0, "eta " + s.eta);
  if (s.guidance !== undefined && s.guidance !== 1) parts.splice(2, 0, "guidance " + s.guidance);
  return parts.join(", ");
}

// The wish that leads to a job's settings again.
function wishOf(job) {
  const s = job.settings, wish = { method: s.method, steps: s.steps, seed: s.seed, num: job.num, spacing: s.spacing };
  if (s.method === "ddim" && s.eta > 0) wish.eta = s.eta;
  if ((s.method === "ddpm" || s.method === "ddim") && s.sigma !== "small") wish.sigma = s.sigma;
  if (network.guidance) wish.guidance = s.guidance;
  if (s.classes && s.classes.length === 1) wish.class = s.classes[0];
  return wish;
}

// Jobs

function statusOf(job) {
  const seconds = job.seconds.toFixed(job.seconds < 10 ? 1 : 0) + " s";
  switch (job.state) {
    case "queued": return "waiting for its turn";
    case "running": return job.images_done + " of " + job.num + " images, step " + job.step + " of " + (job.steps || "?") + ", " + seconds;
    case "done": return "done in " + seconds;
    case "failed": return "failed: " + job.error;
    default: return "cancelled after " + job.images.length + " images";
  }
}

// A job on the page: {node, update(job)}.
function cardOf(job, title) {
  const status = element("p", { class: "status", role: "status" });
  const bar = element("progress", { max: "1", value: "0", "aria-label": "sampling" });
  const tiles = element("div", { class: "tiles" });
  const actions = element("div", { class: "actions" });
  const node = element("article", { class: "job" }, element("h3", {}, title || titleOf(job)), status, bar, tiles, actions);
  node.id = "job-" + job.id;
  const size = network.image;
  node.classList.toggle("large", size.width > 96);
  const places = Array.from({ length: job.num }, () =>
    element("canvas", { class: "waiting", width: size.width, height: size.height, "aria-hidden": "true" }));
  tiles.append(...places);
  const shown = { preview: "", finished: false };
  const update = (now) => {
    status.textContent = statusOf(now);
    const all = now.num * (now.steps || 1), batch = now.num - now.images_done;
    bar.value = isFinal(now) ? 1 : Math.min(1, (now.images_done * (now.steps || 1) + now.step * batch) / all);
    bar.hidden = isFinal(now);
    for (const url of now.images) showImage(places, url);
    if (now.preview && now.preview.url !== shown.preview) {
      shown.preview = now.preview.url;
      drawPreview(places, now.preview);
    }
    if (isFinal(now) && !shown.finished) {
      shown.finished = true;
      for (const place of places) if (place.tagName === "CANVAS" && now.state !== "done") place.remove();
      addActions(actions, now);
    }
  };
  update(job);
  return { node, update };
}

// The finished picture in the place of its canvas, once it is loaded.
function showImage(places, url) {
  const i = Number(url.match(/(\d+)\.png$/)[1]);
  if (places[i].tagName !== "CANVAS" || places[i].dataset.loading) return;
  places[i].dataset.loading = "yes";
  const image = element("img", { alt: "sample " + i, width: network.image.width, height: network.image.height });
  image.addEventListener("load", () => {
    const link = element("a", { href: url, download: "sample-" + i + ".png", title: "download; the file holds its settings" }, image);
    places[i].replaceWith(link);
    places[i] = link;
  });
  image.src = url;
}

// x0 estimates: images side by side in one picture.
function drawPreview(places, preview) {
  const { width, height } = network.image, image = new Image();
  image.addEventListener("load", () => {
    for (let k = 0; k * width < image.naturalWidth; ++k) {
      const canvas = places[preview.first + k];
      if (!canvas || canvas.tagName !== "CANVAS") continue;
      canvas.getContext("2d").drawImage(image, k * width, 0, width, height, 0, 0, width, height);
      canvas.classList.remove("waiting");
    }
  });
  image.src = preview.url;
}

function addActions(actions, job) {
  const text = JSON.stringify(job.settings, null, 2);
  actions.append(
    element("button", { type: "button", onclick: () => useSettings(wishOf(job)) }, "Use these settings"),
    element("button", { type: "button", onclick: () => download("settings-" + job.id + ".json", text) }, "Download settings"),
    element("button", { type: "button", onclick: () => downloadAll(job) }, "Download images"),
    element("details", {}, element("summary", {}, "Settings"), element("pre", { tabindex: "0" }, text)));
}

function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  element("a", { href: url, download: name }).click();
  URL.revokeObjectURL(url);
}

function downloadAll(job) {
  job.images.forEach((url, i) => setTimeout(() =>
    element("a", { href: url, download: "sample-" + job.id.slice(0, 6) + "-" + i + ".png" }).click(), 150 * i));
}

// Updates a card until its job is final. One stream at a time: browsers open only six connections.
function follow(job, card) {
  return new Promise((end) => {
    const events = new EventSource("/v1/jobs/" + job.id + "/events");
    const take = (now) => {
      card.update(now);
      if (!isFinal(now)) return;
      events.close();
      end(now);
    };
    events.addEventListener("job", (event) => take(JSON.parse(event.data)));
    events.addEventListener("error", () => {
      if (events.readyState !== EventSource.CLOSED) return; // the browser tries again
      ask("/v1/jobs/" + job.id).then(take).catch((error) => { say(error.message); end(job); });
    });
  });
}

async function followAll(jobs, cards) {
  for (let i = 0; i < jobs.length; ++i) {
    current = jobs.slice(i);
    byId("stop").hidden = false;
    await follow(jobs[i], cards[i]);
  }
  current = null;
  byId("stop").hidden = true;
}

function add(node) {
  byId("nothing").hidden = true;
  byId("jobs").prepend(node);
}

async function sample() {
  say("");
  const job = await send("/v1/samples", request());
  byId("network").textContent = describeSource(job);
  const card = cardOf(job);
  add(card.node);
  await followAll([job], [card]);
}

async function compare() {
  say("");
  const wishes = byId("steps-list").value.split(/[\s,;]+/).filter((text) => text !== "").map(Number);
  if (wishes.length === 0 || wishes.some((n) => !Number.isInteger(n) || n < 1))
    throw new Error("Steps to compare: whole numbers, as 5, 10, 20.");
  const jobs = [];
  try {
    for (const steps of wishes) jobs.push(await send("/v1/samples", { ...request(), steps }));
  } finally {
    if (jobs.length) showComparison(jobs);
  }
}

function showComparison(jobs) {
  const cards = jobs.map((job) => cardOf(job, job.settings.steps + " steps, " + job.settings.method));
  const title = "Seed " + jobs[0].settings.seed + ", " + jobs.map((job) => job.settings.steps).join(", ") + " steps";
  add(element("article", { class: "job" }, element("h3", {}, title), element("div", { class: "columns" }, ...cards.map((card) => card.node))));
  followAll(jobs, cards);
}

const shown = (work) => work().catch((error) => say(error.message));

byId("form").addEventListener("submit", (event) => { event.preventDefault(); shown(sample); });
byId("compare").addEventListener("click", () => shown(compare));
byId("stop").addEventListener("click", () => shown(async () => {
  for (const job of current || []) await ask("/v1/jobs/" + job.id, { method: "DELETE" });
}));
byId("new-seed").addEventListener("click", () => { byId("seed").value = Math.floor(Math.random() * 1e6); });
byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  shown(async () => {
    await send("/v1/login", { token: byId("token").value });
    byId("login").hidden = true;
    byId("token").value = "";
    say("");
    await begin();
  });
});

// The beginning

function describeNetwork(model) {
  if (!model.network) return "no network: the run has no checkpoint yet; load this page again later";
  const n = model.network, size = n.image.width + " x " + n.image.height + " pixels";
  return n.path + ", " + (n.weights || "only") + " weights, " + size + ", T = " + n.timesteps + ", on " + n.device;
}

// The run may have saved a newer checkpoint since.
function describeSource(job) {
  return describeNetwork({ network: { ...network, path: job.source.checkpoint } });
}

async function begin() {
  byId("network").textContent = "";
  const model = await ask("/v1/model");
  network = model.network;
  byId("network").textContent = describeNetwork(model);
  byId("program").textContent = model.program;
  byId("watch-link").hidden = !model.run;
  if (model.run) document.dispatchEvent(new Event("run"));
  if (!network) return;
  byId("num").max = model.limits.num;
  fillForm();
  byId("sample").hidden = byId("history").hidden = false;
  const { jobs } = await ask("/v1/jobs");
  const cards = jobs.map((job) => cardOf(job));
  for (const card of [...cards].reverse()) add(card.node);
  const open = jobs.map((job, i) => [job, cards[i]]).filter(([job]) => !isFinal(job)).reverse();
  if (open.length) followAll(open.map(([job]) => job), open.map(([, card]) => card));
}

shown(begin);
