"use strict";
// The page of `ddpm serve`: its beginning, and what its buttons do.

async function sample() {
  say("");
  const job = await send(kTasks[task()].path, request());
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
  fillForm(model.limits);
  byId("sample").hidden = byId("history").hidden = false;
  const { jobs } = await ask("/v1/jobs");
  const cards = jobs.map((job) => cardOf(job));
  for (const card of [...cards].reverse()) add(card.node);
  const open = jobs.map((job, i) => [job, cards[i]]).filter(([job]) => !isFinal(job)).reverse();
  if (open.length) followAll(open.map(([job]) => job), open.map(([, card]) => card));
}

byId("form").addEventListener("submit", (event) => { event.preventDefault(); shown(sample); });
byId("compare").addEventListener("click", () => shown(compare));
byId("stop").addEventListener("click", () => shown(async () => {
  for (const job of current || []) await ask("/v1/jobs/" + job.id, { method: "DELETE" });
}));
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

shown(begin);
