// Segments a photo in the visitor's browser, by the steps of `python -m helpers.prediction`:
// photos.network_input, evaluation.predict_probabilities, prediction.decided, overlays.overlay.
// Classes, colours and the input's size come from the network's own file.
"use strict";

const NETWORK = "../experiments/weights/mobilenetv2_unet_256.onnx";
// Both files are fetched against their hash and handed over; the runtime loads nothing by itself.
const CDN = "https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/dist/";
const RUNTIME = {
  "ort.wasm.bundle.min.mjs":
    "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG",
  "ort-wasm-simd-threaded.wasm":
    "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM",
};
const KEY = "unet_pets", VERSION = 1; // as in helpers/exported.py
const MAX_PIXELS = 100e6, MAX_SIDE = 32767; // of a photo: 4 bytes each once decoded; of a canvas
const STRIP = 2 ** 18; // pixels that are worked on at once, before the page may answer again
const SHOWN = 1600; // pixels on the long side of what is shown
const TINT = 0.4;

class Problem extends Error {} // one sentence for the visitor

// ---- The network

/** The content of a file, ArrayBuffer; with `integrity`, only if it has that hash. */
async function fetched(url, integrity = "") {
  try {
    const answer = await fetch(url, { integrity });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    return await answer.arrayBuffer();
  } catch (error) {
    const name = url.split("/").pop();
    const hint = location.protocol === "file:"
      ? "open this page through a web server, such as python -m http.server in the repository"
      : integrity ? "its host does not answer, or it is not the file that was published"
        : `check that it is there (${error.message})`;
    throw new Problem(`${name} could not be loaded: ${hint}.`);
  }
}

/** What an ONNX file says of itself under `KEY`, or null: a walk over its protocol buffer.
 *  ModelProto has metadata_props as field 14, each a key, field 1, and a value, field 2. */
function metadata(bytes) {
  const text = new TextDecoder();
  for (const [field, entry] of fields(bytes)) {
    if (field !== 14) continue;
    const pair = Object.fromEntries(fields(entry));
    if (text.decode(pair[1]) === KEY) return JSON.parse(text.decode(pair[2]));
  }
  return null;
}

/** The fields of a protocol buffer's message: [number, Uint8Array], or [number, a number]. */
function* fields(bytes) {
  let at = 0;
  const number = () => {
    let value = 0, scale = 1, byte;
    do {
      if (at >= bytes.length) throw new RangeError("cut off");
      byte = bytes[at++];
      value += (byte & 127) * scale;
      scale *= 128;
    } while (byte & 128);
    return value;
  };
  while (at < bytes.length) {
    const tag = number(), field = Math.floor(tag / 8), kind = tag % 8;
    if (kind === 0) {
      yield [field, number()];
      continue;
    }
    const length = { 1: () => 8, 2: number, 5: () => 4 }[kind]?.();
    if (!(at + length <= bytes.length)) throw new RangeError("cut off");
    yield [field, bytes.subarray(at, at + length)];
    at += length;
  }
}

/** The network: what `described` gives, and `logits`, which makes of (height, width, 3)
 *  Float32Array, 0..255, a promise of (height, width, K) Float32Array. */
async function openNetwork() {
  const [[content, known], script, wasmBinary] = await Promise.all([
    fetched(NETWORK).then(content => [content, described(new Uint8Array(content))]),
    ...Object.entries(RUNTIME).map(([name, hash]) => fetched(CDN + name, hash)),
  ]);
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const ort = await import(url);
  URL.revokeObjectURL(url);
  // More threads need headers that static hosts, such as GitHub Pages, do not send.
  Object.assign(ort.env.wasm, { wasmBinary, numThreads: 1 });
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(content, { executionProviders: ["wasm"] });
  const logits = async pixels => {
    const images = new ort.Tensor("float32", pixels, [1, ...known.size, 3]);
    const given = await session.run({ [session.inputNames[0]]: images });
    return given[session.outputNames[0]].data;
  };
  return { ...known, logits };
}

/** What the network's file says: { name, names, colors, size: [height, width], threshold, alone },
 *  the last one whether the other classes are the background of the first. */
function described(bytes) {
  const file = NETWORK.split("/").pop();
  let config;
  try {
    config = metadata(bytes);
  } catch (error) {
    throw new Problem(`${file} is cut off or damaged (${error.message}): fetch it again.`);
  }
  if (config?.version !== VERSION) {
    throw new Problem(`${file} is not of version ${VERSION} of experiments.export: export it again.`);
  }
  const { overlap, letterbox, bands } = config.view;
  if (overlap !== null || letterbox || bands !== null) {
    throw new Problem(`${file} does not see photos as a whole, which is all that this page can do.`);
  }
  const { name, labelling, input_size: size, threshold } = config;
  const { names, colors, border_rules: rules } = labelling;
  const alone = names.length === 2 || Object.keys(rules).length > 0;
  return { name, names, colors, size, threshold, alone };
}

// ---- A photo

/** The photo in a file, upright, its colours as they are stored: an ImageBitmap. */
async function readPhoto(file) {
  const named = file.name || "The photo";
  const [width, height] = await announcedSize(file, named);
  if (width * height > MAX_PIXELS || Math.max(width, height) > MAX_SIDE) {
    throw new Problem(
      `${named} is ${width} × ${height} pixels: expected at most ${MAX_PIXELS / 1e6} million, and ` +
      `${MAX_SIDE.toLocaleString("en")} on a side. Make it smaller.`);
  }
  try {
    // Upright as EXIF says, by default: older browsers do not know the word for it.
    return await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new Problem(
      `${named} could not be decoded. If it opens elsewhere, it is too large for this device: make ` +
      `it smaller; else it is damaged or cut off: copy or download it again.`);
  }
}

/** [width, height] as the file's beginning says, before its pixels are decoded. */
async function announcedSize(file, named) {
  const picture = new Image(), url = URL.createObjectURL(file);
  try {
    if (file.type === "image/svg+xml") throw new TypeError("no pixels");
    await new Promise((resolve, reject) => {
      Object.assign(picture, { onload: resolve, onerror: reject, src: url });
    });
    return [picture.naturalWidth, picture.naturalHeight];
  } catch {
    throw new Problem(
      `${named} is no photo that this browser can read: expected a JPEG, PNG, GIF, WebP, BMP or ` +
      `AVIF of at most ${MAX_PIXELS / 1e6} million pixels. Save it as JPEG or PNG.`);
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** Slices [start, stop] of a length, each as many as make a strip of `STRIP` pixels, or one. */
function* strips(length, width) {
  const step = Math.max(1, Math.floor(STRIP / width));
  for (let start = 0; start < length; start += step) yield [start, Math.min(start + step, length)];
}

const breath = () => new Promise(resolve => setTimeout(resolve)); // lets the page answer

/** Pixels (height, width, 4) of part of the photo, laid on white, at another size. */
function pixels(photo, [left, top, wide, high], [width, height]) {
  const canvas = new OffscreenCanvas(width, height);
  const drawing = canvas.getContext("2d", { willReadFrequently: true });
  drawing.imageSmoothingQuality = "high";
  drawing.fillStyle = "white";
  drawing.fillRect(0, 0, width, height);
  drawing.drawImage(photo, left, top, wide, high, 0, 0, width, height);
  return drawing.getImageData(0, 0, width, height).data;
}

/** The photo as the network sees it, (height, width, 3) Float32Array of whole numbers, 0..255: by
 *  Pillow's triangle filter, first the width, strip by strip, then the height. */
async function networkInput(photo, [height, width]) {
  const narrow = new Uint8ClampedArray(photo.height * width * 3);
  const across = triangles(photo.width, width), down = triangles(photo.height, height);
  for (const [top, stop] of strips(photo.height, photo.width)) {
    const size = [photo.width, stop - top];
    const values = pixels(photo, [0, top, ...size], size);
    for (let row = top; row < stop; row++) {
      const from = { start: (row - top) * photo.width * 4, step: 4 };
      weigh(values, from, across, narrow, { start: row * width * 3, step: 3 });
    }
    await breath();
  }
  const input = new Uint8ClampedArray(height * width * 3);
  for (let column = 0; column < width; column++) {
    const line = { start: column * 3, step: width * 3 };
    weigh(narrow, line, down, input, line);
  }
  return Float32Array.from(input);
}

/** Where each of `to` pixels begins among `from`, and its weights, in fixed point as Pillow's. */
function triangles(from, to) {
  const scale = from / to, reach = Math.max(scale, 1);
  return Array.from({ length: to }, (_, place) => {
    const center = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - reach + 0.5));
    const stop = Math.min(from, Math.trunc(center + reach + 0.5));
    const shares = Array.from({ length: stop - first }, (_, k) =>
      Math.max(0, 1 - Math.abs((k + first - center + 0.5) / reach)));
    const sum = shares.reduce((total, share) => total + share);
    return { first, weights: Int32Array.from(shares, s => Math.trunc(0.5 + s / sum * 2 ** 22)) };
  });
}

/** Resizes one line of pixels of red, green and blue, which lie `step` apart. */
function weigh(values, from, filter, target, to) {
  filter.forEach(({ first, weights }, place) => {
    let red = 2 ** 21, green = 2 ** 21, blue = 2 ** 21, at = from.start + first * from.step;
    for (const weight of weights) {
      red += weight * values[at];
      green += weight * values[at + 1];
      blue += weight * values[at + 2];
      at += from.step;
    }
    const end = to.start + place * to.step;
    target[end] = red >> 22; // within 0..255, as the weights' sum is 1 and they are not negative
    target[end + 1] = green >> 22;
    target[end + 2] = blue >> 22;
  });
}

// ---- Its classes

/** Probabilities (height, width, K): of the classes, or of one logit of the first and second. */
function probabilities(logits, places) {
  const given = logits.length / places, classes = Math.max(given, 2);
  const found = new Float64Array(places * classes);
  for (let place = 0; place < places; place++) {
    const own = found.subarray(place * classes, (place + 1) * classes);
    own.set(logits.subarray(place * given, (place + 1) * given));
    const highest = Math.max(...own);
    let sum = 0;
    for (let k = 0; k < classes; k++) sum += own[k] = Math.exp(own[k] - highest);
    for (let k = 0; k < classes; k++) own[k] /= sum;
  }
  return found;
}

/** The class of each pixel at [H, W], Uint8Array: probabilities resized bilinearly, row by row,
 *  and then decided. */
async function decided(found, [height, width], [H, W], threshold) {
  const classes = found.length / (height * width), ids = new Uint8Array(H * W);
  const across = between(width, W), down = between(height, H);
  const row = new Float64Array(width * classes), step = width * classes;
  for (const [top, stop] of strips(H, W)) {
    for (let y = top; y < stop; y++) {
      const above = down.first[y] * step, below = down.second[y] * step, share = down.share[y];
      for (let k = 0; k < step; k++) row[k] = mix(found[above + k], found[below + k], share);
      decideRow(row, classes, across, threshold ?? 0.5, ids.subarray(y * W, (y + 1) * W));
    }
    await breath();
  }
  return ids;
}

const mix = (first, second, share) => (1 - share) * first + share * second;

/** For each of `to` places the two of `from` that it lies between, and the second's share. */
function between(from, to) {
  const first = new Int32Array(to), second = new Int32Array(to), share = new Float64Array(to);
  for (let k = 0; k < to; k++) {
    const place = Math.min(Math.max((k + 0.5) * from / to - 0.5, 0), from - 1);
    first[k] = place;
    second[k] = Math.min(first[k] + 1, from - 1);
    share[k] = place - first[k];
  }
  return { first, second, share };
}

function decideRow(row, classes, { first, second, share }, threshold, ids) {
  for (let x = 0; x < ids.length; x++) {
    const left = first[x] * classes, right = second[x] * classes;
    let best = 0, highest = mix(row[left], row[right], share[x]);
    if (classes === 2) {
      ids[x] = highest > threshold ? 0 : 1;
      continue;
    }
    for (let k = 1; k < classes; k++) {
      const value = mix(row[left + k], row[right + k], share[x]);
      if (value > highest) [best, highest] = [k, value];
    }
    ids[x] = best;
  }
}

// ---- Pictures

/** Draws mask and overlay, at most `SHOWN` pixels a side. */
function draw(photo, ids, { names, colors, alone }) {
  const shrink = Math.min(1, SHOWN / Math.max(photo.width, photo.height));
  const size = [photo.width, photo.height].map(side => Math.max(1, Math.round(side * shrink)));
  const small = nearest(ids, photo, size);
  const tinted = pixels(photo, [0, 0, photo.width, photo.height], size);
  const flat = new Uint8ClampedArray(tinted.length).fill(255);
  small.forEach((id, place) => {
    for (let k = 0; k < 3; k++) {
      const at = 4 * place + k;
      flat[at] = colors[id][k];
      tinted[at] = (1 - TINT) * tinted[at] + TINT * flat[at]; // the array rounds
    }
  });
  outline(tinted, alone ? small.map(id => Math.min(id, 1)) : small, size,
    Math.max(1, Math.round(Math.max(...size) / (alone ? 160 : 480))));
  for (const [id, values] of [["overlay", tinted], ["mask", flat]]) {
    const canvas = document.getElementById(id);
    [canvas.width, canvas.height] = size;
    canvas.getContext("2d").putImageData(new ImageData(values, ...size), 0, 0);
    canvas.setAttribute("aria-label", `${id === "mask" ? "Mask" : "Overlay"} of ${names.join(", ")}`);
  }
}

function nearest(ids, { width, height }, [W, H]) {
  const small = new Uint8Array(W * H);
  for (let y = 0; y < H; y++) {
    const row = Math.floor(y * height / H) * width;
    for (let x = 0; x < W; x++) small[y * W + x] = ids[row + Math.floor(x * width / W)];
  }
  return small;
}

/** A dark line beside a light one between regions: it stands out on any photo, without colour.
 *  Dark is what is within `reach` steps, up, down or across, of a higher region; light, of a lower
 *  one. It is enough to look around the pixels at the regions' edges. */
function outline(values, regions, [W, H], reach) {
  const DARK = 1, LIGHT = 2, marks = new Uint8Array(W * H);
  for (let at = 0; at < regions.length; at++) {
    const x = at % W, y = (at - x) / W, own = regions[at];
    const apart = (inside, step) => inside && regions[at + step] !== own;
    if (!(apart(x, -1) || apart(x < W - 1, 1) || apart(y, -W) || apart(y < H - 1, W))) continue;
    for (let row = Math.max(0, y - reach); row <= Math.min(H - 1, y + reach); row++) {
      const wide = reach - Math.abs(row - y), stop = row * W + Math.min(W - 1, x + wide);
      for (let near = row * W + Math.max(0, x - wide); near <= stop; near++) {
        if (regions[near] < own) marks[near] = Math.max(marks[near], DARK);
        if (regions[near] > own) marks[near] = LIGHT;
      }
    }
  }
  marks.forEach((mark, at) => mark && values.fill(mark === LIGHT ? 255 : 0, 4 * at, 4 * at + 3));
}

/** Class ids as a PNG file with the classes' colours as its palette: a Blob. */
async function png(ids, width, height, colors) {
  const rows = new Uint8Array((width + 1) * height); // each row begins with its filter: none
  for (let y = 0; y < height; y++) {
    rows.set(ids.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  }
  const packed = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint16(8, 0x0803); // 8 bits, indices of a palette
  const parts = {
    IHDR: new Uint8Array(header.buffer),
    PLTE: new Uint8Array(colors.flat()),
    IDAT: new Uint8Array(await new Response(packed).arrayBuffer()),
    IEND: new Uint8Array(0),
  };
  const signature = new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]);
  return new Blob([signature, ...Object.entries(parts).map(chunk)], { type: "image/png" });
}

function chunk([name, content]) {
  const whole = new Uint8Array(content.length + 12), view = new DataView(whole.buffer);
  view.setUint32(0, content.length);
  whole.set(new TextEncoder().encode(name), 4);
  whole.set(content, 8);
  let crc = -1;
  for (const byte of whole.subarray(4, -4)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 && 0xedb88320);
  }
  view.setUint32(content.length + 8, ~crc);
  return whole;
}

// ---- The page

const element = id => document.getElementById(id);

/** Shows what the network says of a photo. */
async function show(file) {
  element("problem").textContent = "";
  element("result").hidden = true;
  element("status").textContent = "Looking at the photo ...";
  let photo;
  try {
    photo = await readPhoto(file);
    const found = await network, began = performance.now();
    const input = await networkInput(photo, found.size);
    const logits = await found.logits(input);
    const chances = probabilities(logits, found.size[0] * found.size[1]);
    const size = [photo.height, photo.width];
    const ids = await decided(chances, found.size, size, found.threshold);
    draw(photo, ids, found);
    list(ids, found);
    await offer(ids, photo, found, file.name);
    element("result").hidden = false;
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    element("status").textContent = `Done, in ${seconds} s.`;
  } catch (error) {
    element("status").textContent = "";
    element("problem").textContent = sentence(error);
  } finally {
    photo?.close();
  }
}

const sentence = error => error instanceof Problem ? error.message
  : `This browser could not do it (${error}): try a smaller photo, or another browser.`;

/** Fills in the table of the classes: colour, name, share of the pixels. */
function list(ids, { names, colors }) {
  const counts = new Array(names.length).fill(0);
  for (let k = 0; k < ids.length; k++) counts[ids[k]]++;
  element("shares").replaceChildren(...names.map((name, k) => {
    const row = document.createElement("tr"), swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = `rgb(${colors[k]})`;
    const head = document.createElement("th");
    head.scope = "row";
    head.append(swatch, name);
    row.append(head);
    row.insertCell().textContent = `${(100 * counts[k] / ids.length).toFixed(1)} %`;
    return row;
  }));
}

/** Makes the mask's file ready to be downloaded. */
async function offer(ids, { width, height }, { names, colors }, name) {
  const link = element("download");
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(await png(ids, width, height, colors));
  link.download = `${(name || "photo").replace(/\.[^.]*$/, "")}_mask.png`;
  const values = names.map((each, k) => `${k} ${each}`).join(", ");
  element("size").textContent =
    `PNG, ${width} × ${height} pixels; their values are the classes' numbers: ${values}.`;
}

element("status").textContent = "Loading the network, up to 20 MB the first time ...";
const network = openNetwork();
network.then(({ name, names }) => {
  element("status").textContent = `Ready: ${name} tells apart ${names.join(", ")}.`;
}, error => {
  element("status").textContent = "";
  element("problem").textContent = sentence(error);
});
let queue = network.catch(() => {}); // one photo after the other
const take = file => { if (file) queue = queue.then(() => show(file)); };
for (const input of document.querySelectorAll("input")) {
  input.addEventListener("change", () => {
    take(input.files[0]);
    input.value = ""; // the same file may be chosen again
  });
}
const over = event => {
  event.preventDefault(); // or the browser would open the file in this page's place
  element("photo").classList.toggle("over", event.type === "dragover");
};
for (const kind of ["dragover", "dragleave", "drop"]) document.addEventListener(kind, over);
document.addEventListener("drop", event => take(event.dataTransfer.files[0]));
