"use strict";
// The page of `ddpm serve`: the settings, and the task that they are for.

const fieldNames = ["method", "steps", "eta", "sigma", "spacing", "guidance", "class", "vector", "seed", "num"];
const numbers = new Set(["steps", "eta", "guidance", "seed", "num"]);
const kTasks = {
  sample: { path: "/v1/samples", button: "Sample", note: "New images from noise." },
  interpolate: { path: "/v1/interpolations", button: "Interpolate",
    note: "The way from one image to another, on the sphere of their noises. " +
      "With a method without noise, such as ddim, it begins and ends at the images themselves." },
  inpaint: { path: "/v1/inpaintings", button: "Inpaint",
    note: "Redraws a region of a picture; the rest stays exactly as it is. Each step is repeated in rounds, so that both parts fit. " +
      "Methods that remember former steps need 1 round." },
};

const task = () => document.querySelector("input[name=task]:checked").value;

function setTask(name) {
  document.querySelector("input[name=task][value=" + name + "]").checked = true;
  showTask();
}

function showTask() {
  const name = task();
  byId("task-note").textContent = kTasks[name].note;
  byId("go").textContent = kTasks[name].button;
  byId("way-part").hidden = name !== "interpolate";
  byId("inpaint-part").hidden = name !== "inpaint";
  byId("compare-part").hidden = name !== "sample";
  byId("seed-field").hidden = byId("num-field").hidden = name === "interpolate";
  limitMethods();
}

// Methods that remember former steps do not go with several rounds.
function limitMethods() {
  const select = byId("method"), limited = task() === "inpaint" && Number(byId("rounds").value) !== 1;
  const remembers = (word) => network.methods_with_memory.includes(word === "" ? network.defaults.method : word);
  for (const option of select.options) option.disabled = limited && remembers(option.value);
  if (select.selectedOptions[0].disabled) select.value = "ddim";
}

function fillSelect(select, words, usual) {
  select.replaceChildren(element("option", { value: "" }, "as in the checkpoint" + (usual ? " (" + usual + ")" : "")),
    ...words.map((word) => element("option", { value: word }, word)));
}

function fillForm(limits) {
  const usual = network.defaults;
  fillSelect(byId("method"), network.methods, usual.method);
  fillSelect(byId("sigma"), network.sigmas, usual.sigma);
  fillSelect(byId("spacing"), network.spacings, usual.spacing);
  byId("steps").max = network.timesteps;
  byId("num").max = byId("frames").max = limits.num;
  for (const name of ["steps", "eta", "guidance"]) byId(name).placeholder = usual[name];
  byId("guidance-field").hidden = !network.guidance;
  byId("class-field").hidden = network.classes === 0;
  byId("class").replaceChildren(element("option", { value: "" }, "all in turn"), ...Array.from({ length: network.classes }, (_, i) =>
    element("option", { value: i }, network.class_names[i] || String(i))));
  byId("vector-part").hidden = network.vector_names.length === 0;
  byId("vector").placeholder = network.vector_names.slice(0, 2).map((name) => name + "=1").join(", ");
  byId("vector-names").textContent = network.vector_names.join(", ");
  byId("condition-part").hidden = !network.condition;
  if (network.condition) byId("condition-what").textContent = "This network makes images from pictures. It needs " + network.condition.what + ".";
  // A start that is quick: few steps of a method for few steps.
  byId("method").value = network.methods.includes("auto") ? "auto" : "";
  byId("steps").value = Math.min(20, network.timesteps);
  byId("steps-list").value = [5, 10, 20, 50].filter((n) => n <= network.timesteps).join(", ");
  showTask();
}

// "age=30, smiling=1", or all numbers in order, as the API wants them; null if the text is neither.
function vectorIn(text) {
  const pairs = text.split(",").map((part) => {
    const at = part.lastIndexOf("=");
    return [part.slice(0, Math.max(at, 0)).trim(), part.slice(at + 1).trim()];
  });
  if (pairs.some(([, number]) => number === "" || !Number.isFinite(Number(number)))) return null;
  const named = pairs.filter(([name]) => name !== "").length;
  if (named === 0) return pairs.map(([, number]) => Number(number));
  return named < pairs.length ? null : Object.fromEntries(pairs.map(([name, number]) => [name, Number(number)]));
}

const numberIn = (id) => (byId(id).value.trim() === "" ? undefined : Number(byId(id).value));

// The settings of the form, as the API wants them. An empty field is left to the checkpoint.
function settingsAsked() {
  const wish = {};
  for (const name of fieldNames) {
    const text = byId(name).value.trim();
    if (text === "") continue;
    wish[name] = numbers.has(name) || name === "class" ? Number(text) : text;
  }
  if ("vector" in wish) {
    wish.vector = vectorIn(wish.vector);
    if (wish.vector === null) throw new Error("Numbers: write " + byId("vector").placeholder + ", or all " + network.vector_names.length + " in order.");
  }
  if (network.condition) {
    if (condition.base64 === "") throw new Error("Choose a condition first: " + network.condition.what + ".");
    wish.condition = condition.base64;
  }
  return wish;
}

// What the form asks for.
function request() {
  const wish = settingsAsked();
  if (task() === "interpolate") {
    delete wish.num;
    wish.seed = numberIn("from-seed");
    wish.between = [numberIn("from-image"), { seed: numberIn("to-seed"), image: numberIn("to-image") }];
    wish.frames = numberIn("frames");
  }
  if (task() === "inpaint") {
    if (!region.mask) throw new Error("Choose a picture first: a file, or Inpaint at a picture of the history.");
    if (masked() === 0) throw new Error("Paint the region that is to be redrawn first.");
    if (masked() === region.mask.length) throw new Error("Leave a part of the picture as it is, or use Sample.");
    Object.assign(wish, { image: region.base64, mask: maskBase64(), rounds: numberIn("rounds") });
  }
  return wish;
}

// The wish that leads to a job's settings again.
function wishOf(job) {
  const s = job.settings, wish = { method: s.method, steps: s.steps, seed: s.seed, num: job.num, spacing: s.spacing };
  if (s.method === "ddim" && s.eta > 0) wish.eta = s.eta;
  if ((s.method === "ddpm" || s.method === "ddim") && s.sigma !== "small") wish.sigma = s.sigma;
  if (network.guidance) wish.guidance = s.guidance;
  if (s.classes && s.classes.length === 1) wish.class = s.classes[0];
  if (job.source.vectors && vectorIn(job.source.vectors) !== null) wish.vector = job.source.vectors;
  return wish;
}

function fillFields(wish) {
  for (const name of fieldNames) byId(name).value = name in wish ? wish[name] : "";
}

// "5:3" is image 3 of seed 5, and 3 that of the settings' seed.
function endOf(word, seed) {
  const [first, second] = String(word).split(":");
  return second === undefined ? { seed, image: first } : { seed: first, image: second };
}

function fillEnd(side, end) {
  byId(side + "-seed").value = end.seed;
  byId(side + "-image").value = end.image;
}

async function useSettings(job) {
  const s = job.settings, input = (name) => job.inputs.find((one) => one.name.startsWith(name + "-"));
  fillFields(job.command === "interpolate" ? { ...wishOf(job), num: byId("num").value } : wishOf(job));
  if (job.command === "interpolate") {
    fillEnd("from", endOf(s.between[0], s.seed));
    fillEnd("to", endOf(s.between.at(-1), s.seed));
    byId("frames").value = s.frames;
  }
  byId("picture-file").value = byId("condition-file").value = "";
  if (input("condition")) await openConditionBlob(await fetchBlob(input("condition").url), input("condition").name);
  if (job.command === "inpaint") {
    byId("rounds").value = s.rounds;
    const [picture, mask] = await Promise.all(["image", "mask"].map(async (name) =>
      pictureFor(await fetchBlob(input(name).url), network.image, input(name).name)));
    openRegion(picture, maskOf(mask));
  }
  setTask(job.command);
  byId("sample").scrollIntoView();
  byId("go").focus();
}

// Image `number` of a job as an end of a way, with that job's settings.
function useAsEnd(side, job, number) {
  const classes = job.settings.classes || [];
  fillFields({ ...wishOf(job), num: byId("num").value, ...(classes.length ? { class: classes[number % classes.length] } : {}) });
  fillEnd(side, { seed: job.settings.seed, image: number });
  setTask("interpolate");
  byId("way-part").scrollIntoView();
  byId(side === "from" ? "to-seed" : "go").focus();
}

for (const radio of document.querySelectorAll("input[name=task]")) radio.addEventListener("change", showTask);
byId("rounds").addEventListener("input", limitMethods);
for (const button of document.querySelectorAll("button[data-new-seed]"))
  button.addEventListener("click", () => { byId(button.dataset.newSeed).value = Math.floor(Math.random() * 1e6); });
