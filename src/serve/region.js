"use strict";
// The page of `ddpm serve`: the region to be redrawn, painted over a picture with a pointer, with keys or as rectangles.

const region = {
  width: 0, height: 0,
  base64: "",     // the picture, as the server wants it
  pixels: null,   // the picture, RGBA
  mask: null,     // Uint8Array, 1 where it is redrawn
  former: [],     // masks, for Undo
  at: null,       // the middle of the brush in pixels, or null
  pointer: null,  // the id of the pointer that paints
};
const kFormerMasks = 100;
const kMaskColours = [[255, 0, 80], [0, 190, 255]]; // of pixels in turn: no picture looks like both

const brushSize = () => Number(byId("brush-size").value);
const isErasing = () => byId("brush-erase").checked;
const masked = () => region.mask.reduce((sum, one) => sum + one, 0);

// A picture as pictureFor() makes it, and perhaps its mask.
function openRegion(picture, mask) {
  const isNew = region.width !== picture.width || region.height !== picture.height;
  Object.assign(region, { width: picture.width, height: picture.height, base64: picture.base64, pixels: picture.pixels,
    mask: mask || new Uint8Array(picture.width * picture.height), former: [], at: null, pointer: null });
  const canvas = byId("region");
  canvas.width = region.width;
  canvas.height = region.height;
  byId("brush-size").max = Math.max(2, Math.floor(Math.max(region.width, region.height) / 2));
  if (isNew) byId("brush-size").value = Math.max(2, Math.round(Math.max(region.width, region.height) / 8));
  for (const [name, most] of [["left", region.width], ["top", region.height], ["wide", region.width], ["high", region.height]])
    byId("rectangle-" + name).max = most - (name === "left" || name === "top" ? 1 : 0);
  byId("region-part").hidden = false;
  byId("picture-note").textContent = picture.note;
  drawRegion();
}

// Changes the mask, so that Undo leads back.
function changeMask(change) {
  region.former.push(region.mask.slice());
  if (region.former.length > kFormerMasks) region.former.shift();
  change();
  drawRegion();
}

// A disc as wide as the brush; at least the pixel that it lies in.
function eachOfDisc(x, y, use) {
  const radius = brushSize() / 2, { width, height } = region;
  for (let j = Math.max(0, Math.floor(y - radius)); j <= Math.min(height - 1, y + radius); ++j)
    for (let i = Math.max(0, Math.floor(x - radius)); i <= Math.min(width - 1, x + radius); ++i)
      if ((i + 0.5 - x) ** 2 + (j + 0.5 - y) ** 2 <= radius ** 2 || (i === Math.floor(x) && j === Math.floor(y))) use(j * width + i);
}

function paintLine(from, to, value) {
  const pieces = Math.max(1, Math.ceil(2 * Math.hypot(to.x - from.x, to.y - from.y)));
  for (let k = 0; k <= pieces; ++k)
    eachOfDisc(from.x + (to.x - from.x) * k / pieces, from.y + (to.y - from.y) * k / pieces, (i) => { region.mask[i] = value; });
}

function drawRegion() {
  const canvas = byId("region"), { pixels, mask } = region;
  const image = new ImageData(region.width, region.height);
  const mix = (i, colour, share) => {
    for (let c = 0; c < 3; ++c) image.data[4 * i + c] = (1 - share) * image.data[4 * i + c] + share * colour[c];
  };
  for (let i = 0; i < mask.length; ++i) {
    for (let c = 0; c < 4; ++c) image.data[4 * i + c] = pixels[4 * i + c];
    if (mask[i]) mix(i, kMaskColours[(i % region.width + Math.floor(i / region.width)) % 2], 0.65);
  }
  if (region.at) eachOfDisc(region.at.x, region.at.y, (i) => mix(i, isErasing() ? [0, 0, 0] : [255, 230, 0], 0.5));
  canvas.getContext("2d").putImageData(image, 0, 0);
  byId("brush-size-text").textContent = brushSize() + " pixels";
  byId("region-count").textContent = masked() + " of " + mask.length + " pixels will be redrawn";
  byId("brush-undo").disabled = region.former.length === 0;
}

// The mask as a PNG in base64: white where it is redrawn.
function maskBase64() {
  const canvas = element("canvas", { width: region.width, height: region.height });
  const image = new ImageData(region.width, region.height);
  for (let i = 0; i < region.mask.length; ++i) image.data.set([255, 255, 255].map((v) => v * region.mask[i]).concat(255), 4 * i);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return afterComma(canvas.toDataURL("image/png"));
}

// The mask that a picture shows, as pictureFor() makes it.
const maskOf = (picture) => Uint8Array.from({ length: picture.width * picture.height }, (_, i) => (picture.pixels[4 * i] >= 128 ? 1 : 0));

// By pointer

function pointOf(event) {
  const box = byId("region").getBoundingClientRect();
  return { x: (event.clientX - box.left) * region.width / box.width, y: (event.clientY - box.top) * region.height / box.height };
}

function beginStroke(event) {
  if (event.button !== 0 || region.pointer !== null) return;
  region.pointer = event.pointerId;
  byId("region").setPointerCapture(event.pointerId);
  region.at = pointOf(event);
  changeMask(() => paintLine(region.at, region.at, isErasing() ? 0 : 1));
}

function continueStroke(event) {
  const former = region.at, events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  region.at = pointOf(event);
  if (region.pointer === event.pointerId) {
    let from = former;
    for (const one of events.length ? events : [event]) {
      paintLine(from, pointOf(one), isErasing() ? 0 : 1);
      from = pointOf(one);
    }
  }
  drawRegion();
}

function endStroke(event) {
  if (region.pointer !== event.pointerId) return;
  region.pointer = null;
  if (event.type === "pointercancel" || event.pointerType === "touch") region.at = null;
  drawRegion();
}

// By keys

const kMoves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// Where keys begin.
function placeBrush() {
  if (region.at === null) region.at = { x: Math.floor(region.width / 2) + 0.5, y: Math.floor(region.height / 2) + 0.5 };
}

function moveBrush([right, down], paints) {
  const step = Math.max(1, Math.floor(brushSize() / 2)), within = (v, size) => Math.min(size - 0.5, Math.max(0.5, v));
  const former = region.at;
  region.at = { x: within(former.x + right * step, region.width), y: within(former.y + down * step, region.height) };
  if (paints) changeMask(() => paintLine(former, region.at, isErasing() ? 0 : 1));
}

function useKey(event) {
  const isDab = event.key === " " || event.key === "Delete" || event.key === "Backspace";
  placeBrush();
  if (event.key === "z" && (event.ctrlKey || event.metaKey)) undoMask();
  else if (event.ctrlKey || event.metaKey || event.altKey) return;
  else if (kMoves[event.key]) moveBrush(kMoves[event.key], event.shiftKey);
  else if (isDab) changeMask(() => paintLine(region.at, region.at, event.key === " " && !isErasing() ? 1 : 0));
  else if (event.key === "+" || event.key === "-") byId("brush-size").value = brushSize() + (event.key === "+" ? 1 : -1);
  else return;
  event.preventDefault();
  drawRegion();
}

function undoMask() {
  if (region.former.length) region.mask = region.former.pop();
  drawRegion();
}

function addRectangle() {
  const of = (name) => Math.floor(Number(byId("rectangle-" + name).value));
  const left = of("left"), top = of("top"), right = left + of("wide"), bottom = top + of("high");
  if (!(left >= 0 && top >= 0 && right > left && bottom > top && right <= region.width && bottom <= region.height))
    throw new Error("The rectangle must lie within the picture of " + region.width + " x " + region.height + " pixels.");
  changeMask(() => {
    for (let j = top; j < bottom; ++j) region.mask.fill(isErasing() ? 0 : 1, j * region.width + left, j * region.width + right);
  });
}

byId("region").addEventListener("pointerdown", beginStroke);
byId("region").addEventListener("pointermove", continueStroke);
for (const name of ["pointerup", "pointercancel"]) byId("region").addEventListener(name, endStroke);
byId("region").addEventListener("pointerleave", () => {
  if (region.pointer !== null || !region.mask) return;
  region.at = null;
  drawRegion();
});
byId("region").addEventListener("keydown", useKey);
byId("region").addEventListener("focus", () => { placeBrush(); drawRegion(); });
byId("region").addEventListener("blur", () => { region.at = null; drawRegion(); });
byId("brush-size").addEventListener("input", drawRegion);
byId("brush-undo").addEventListener("click", undoMask);
byId("brush-clear").addEventListener("click", () => changeMask(() => region.mask.fill(0)));
byId("brush-invert").addEventListener("click", () => changeMask(() => { region.mask = region.mask.map((one) => 1 - one); }));
byId("rectangle-add").addEventListener("click", () => shown(async () => { say(""); addRectangle(); }));
for (const name of ["left", "top", "wide", "high"])
  byId("rectangle-" + name).addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // it would begin the job
    byId("rectangle-add").click();
  });
