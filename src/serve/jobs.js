"use strict";
// The page of `ddpm serve`: jobs, their progress and their pictures.

// "image 3", or of another seed "image 3 of seed 5"
function nameOfEnd(word) {
  const [first, second] = String(word).split(":");
  return second === undefined ? "image " + first : "image " + second + " of seed " + first;
}

// "ddim, 50 steps, seed 0, 4 images"
function titleOf(job) {
  const s = job.settings;
  const parts = [s.method, s.steps + " steps", "seed " + s.seed, job.num + (job.num === 1 ? " image" : " images")];
  if (s.eta > 0) parts.splice(2, 0, "eta " + s.eta);
  if (s.guidance !== undefined && s.guidance !== 1) parts.splice(2, 0, "guidance " + s.guidance);
  if (job.command === "inpaint") parts.unshift("inpaint, " + s.rounds + (s.rounds === 1 ? " round" : " rounds"));
  if (job.command === "interpolate") parts.unshift("from " + s.between.map(nameOfEnd).join(" to "));
  return parts.join(", ");
}

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
  const given = element("div", { class: "tiles given", hidden: job.inputs.length === 0 }, ...job.inputs.map(inputOf));
  const actions = element("div", { class: "actions" });
  const node = element("article", { class: "job" }, element("h3", {}, title || titleOf(job)), status, bar, given, tiles, actions);
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
    for (const url of now.images) showImage(places, now, url);
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

// A picture that the job was given.
function inputOf(input) {
  return element("figure", {}, element("a", { href: input.url, download: input.name, title: "download" },
    element("img", { src: input.url, alt: "given: " + input.name })), element("figcaption", {}, input.name.replace(/-.*/, "")));
}

// The finished picture in the place of its canvas, once it is loaded.
function showImage(places, job, url) {
  const i = Number(url.match(/(\d+)\.png$/)[1]);
  if (places[i].tagName !== "CANVAS" || places[i].dataset.loading) return;
  places[i].dataset.loading = "yes";
  const image = element("img", { alt: "sample " + i, width: network.image.width, height: network.image.height });
  image.addEventListener("load", () => {
    const tile = element("button", { type: "button", class: "tile", title: "view, download, use", onclick: () => viewPicture(job, i) }, image);
    places[i].replaceWith(tile);
    places[i] = tile;
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
    element("button", { type: "button", onclick: () => shown(() => useSettings(job)) }, "Use these settings"),
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
    element("a", { href: url, download: job.command + "-" + job.id.slice(0, 6) + "-" + i + ".png" }).click(), 150 * i));
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
