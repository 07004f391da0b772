"use strict";
// The page of `ddpm serve`: pictures from a disk or from the history, in the size that the network takes.

const kSentAsItIs = 2 << 20; // bytes of a file, at most
const afterComma = (url) => url.slice(url.indexOf(",") + 1);

function base64Of(blob) {
  return new Promise((end, fail) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => end(afterComma(reader.result)));
    reader.addEventListener("error", () => fail(new Error("The file cannot be read.")));
    reader.readAsDataURL(blob);
  });
}

// The middle of a picture, scaled, on white; grey if the network's pictures are.
function drawnInSize(bitmap, size) {
  const canvas = element("canvas", { width: size.width, height: size.height }), context = canvas.getContext("2d", { willReadFrequently: true });
  const scale = Math.max(size.width / bitmap.width, size.height / bitmap.height);
  const width = size.width / scale, height = size.height / scale;
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, size.width, size.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, (bitmap.width - width) / 2, (bitmap.height - height) / 2, width, height, 0, 0, size.width, size.height);
  if (size.channels === 1) {
    const image = context.getImageData(0, 0, size.width, size.height), data = image.data;
    for (let i = 0; i < data.length; i += 4)
      data[i] = data[i + 1] = data[i + 2] = Math.round(0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]);
    context.putImageData(image, 0, 0);
  }
  return canvas;
}

// Whether it has colours or alpha that the network's pictures lack.
function hasMore(bitmap, channels) {
  const canvas = element("canvas", { width: bitmap.width, height: bitmap.height }), context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const data = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
  for (let i = 0; i < data.length; i += 4)
    if (data[i + 3] < 255 || (channels === 1 && (data[i] !== data[i + 1] || data[i] !== data[i + 2]))) return true;
  return false;
}

// A picture for the network: {width, height, pixels, base64, note}. A file of the right size is sent as it is, any other
// as it is shown. size: {width, height, channels}.
async function pictureFor(blob, size, name) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    throw new Error(name + ": the browser cannot read this as a picture; choose a PNG or JPEG.");
  }
  const fits = bitmap.width === size.width && bitmap.height === size.height;
  const asItIs = fits && (blob.type === "image/png" || blob.type === "image/jpeg") && blob.size <= kSentAsItIs && !hasMore(bitmap, size.channels);
  const canvas = drawnInSize(bitmap, size);
  const is = name + ": " + bitmap.width + " x " + bitmap.height + " pixels";
  return { width: size.width, height: size.height,
    pixels: canvas.getContext("2d").getImageData(0, 0, size.width, size.height).data,
    base64: asItIs ? await base64Of(blob) : afterComma(canvas.toDataURL("image/png")),
    note: fits ? is : is + "; its middle, scaled to " + size.width + " x " + size.height };
}

// The condition of networks that make images from pictures.
const condition = { base64: "" };

function openCondition(picture) {
  condition.base64 = picture.base64;
  const canvas = byId("condition-picture");
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d").putImageData(new ImageData(picture.pixels, picture.width, picture.height), 0, 0);
  canvas.hidden = false;
  byId("condition-note").textContent = picture.note;
}

const openConditionBlob = async (blob, name) => openCondition(await pictureFor(blob, network.condition, name));
const openRegionBlob = async (blob, name) => openRegion(await pictureFor(blob, network.image, name));

// A picture of the history, large, with what can be done with it.

const viewed = { job: null, number: 0 };
const isOfSeed = (job) => job.command === "sample";
const urlOf = (job, number) => "/v1/jobs/" + job.id + "/images/" + number + ".png";

function viewPicture(job, number) {
  Object.assign(viewed, { job, number });
  const url = urlOf(job, number);
  byId("viewed").src = url;
  byId("viewed").alt = "image " + number + " of seed " + job.settings.seed;
  byId("viewer-title").textContent = "Image " + number + ", " + titleOf(job);
  byId("viewer-download").href = url;
  byId("viewer-download").download = job.command + "-" + job.id.slice(0, 6) + "-" + number + ".png";
  for (const id of ["viewer-from", "viewer-to"]) byId(id).hidden = !isOfSeed(job);
  byId("viewer-condition").hidden = !network.condition;
  byId("viewer").showModal();
}

function useViewed(use) {
  byId("viewer").close();
  shown(async () => { say(""); await use(viewed.job, viewed.number); });
}

byId("viewer-from").addEventListener("click", () => useViewed((job, number) => useAsEnd("from", job, number)));
byId("viewer-to").addEventListener("click", () => useViewed((job, number) => useAsEnd("to", job, number)));
byId("viewer-inpaint").addEventListener("click", () => useViewed(async (job, number) => {
  byId("picture-file").value = "";
  await openRegionBlob(await fetchBlob(urlOf(job, number)), "image " + number + " of seed " + job.settings.seed);
  setTask("inpaint");
  byId("region").focus();
}));
byId("viewer-condition").addEventListener("click", () => useViewed(async (job, number) => {
  byId("condition-file").value = "";
  await openConditionBlob(await fetchBlob(urlOf(job, number)), "image " + number + " of seed " + job.settings.seed);
  byId("condition-file").focus();
}));
byId("viewer-close").addEventListener("click", () => byId("viewer").close());
const takeFile = (id, open) => byId(id).addEventListener("change", () => {
  const [file] = byId(id).files;
  if (file) shown(async () => { say(""); await open(file, file.name); });
});
takeFile("picture-file", openRegionBlob);
takeFile("condition-file", openConditionBlob);
