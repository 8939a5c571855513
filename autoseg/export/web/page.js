// The page: takes files, hands them to the worker, shows image and labels, offers the result.
"use strict";

const element = (id) => document.getElementById(id);
const model = autosegModel;
const COLOURS = [[230, 75, 60], [60, 150, 230], [90, 190, 90], [240, 190, 50], [170, 95, 200], [70, 200, 200], [240, 130, 50], [200, 200, 200]];
const colourOf = (number) => COLOURS[number % COLOURS.length];

function bytesOf(pieces) {
  if (Uint8Array.fromBase64) return joined(pieces.map((piece) => Uint8Array.fromBase64(piece)));
  return joined(pieces.map((piece) => Uint8Array.from(atob(piece), (character) => character.charCodeAt(0))));
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

// What stands in the scripts of the folder `files`, which may be packed with gzip.
async function embedded(name) {
  const { pieces, packed } = autosegFiles[name];
  delete autosegFiles[name];
  const bytes = bytesOf(pieces);
  if (!packed) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

let worker = null, number = 0;
const waiting = new Map();

function ask(kind, content, parts = [], tick = () => {}) {
  return new Promise((resolve, reject) => {
    waiting.set(++number, { resolve, reject, tick });
    worker.postMessage({ number, kind, ...content }, parts);
  });
}

function heard({ data }) {
  const { resolve, reject, tick } = waiting.get(data.number);
  if (data.share !== undefined) return tick(data.share);
  waiting.delete(data.number);
  if (data.problem) {
    console.info(data.stack);
    reject(new Error(data.problem));
  } else resolve(data.answer);
}

async function loaded() {
  const code = await embedded("worker.js");
  worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  worker.onmessage = heard;
  worker.onerror = (event) => tell(`The page cannot work in this browser: ${event.message}. Use a newer one.`, true);
  const networks = {};
  for (const name of model.members.flatMap((member) => member.networks)) networks[name] = await embedded(name);
  const runtime = await embedded("runtime.wasm"), module = await embedded("runtime.mjs");
  await ask("load", { description: model, runtime, module, networks }, Object.values(networks).map((each) => each.buffer));
}

function tell(text, bad = false) {
  element("state").textContent = text;
  element("state").className = bad ? "bad" : "";
}

let viewer = null;

async function show(result) {
  if (!viewer) {
    viewer = new niivue.Niivue({ logLevel: "error", show3Dcrosshair: true, crosshairWidth: 0.2, backColor: [0.07, 0.08, 0.1, 1], loadingText: "" });
    await viewer.attachToCanvas(element("viewer"));
  }
  for (const volume of [...viewer.volumes]) viewer.removeVolume(volume);
  const flat = result.shape[0] === 1;
  const image = await niivue.NVImage.loadFromUrl({ url: "image.nii", name: "image.nii", buffer: result.image.buffer, colormap: "gray" });
  viewer.addVolume(image);
  const values = model.labels.names, table = { R: [0], G: [0], B: [0], A: [0], I: [0], labels: ["background"] };
  Object.entries(values).filter(([, value]) => value !== 0).forEach(([name, value], place) => {
    const [R, G, B] = colourOf(place), index = model.labels.region_order ? model.labels.region_order[place] : value;
    for (const [key, entry] of Object.entries({ R, G, B, A: 255, I: index, labels: name })) table[key].push(entry);
  });
  const labels = await niivue.NVImage.loadFromUrl({ url: "labels.nii", name: "labels.nii", buffer: result.labels.buffer, opacity: 0.5 });
  labels.setColormapLabel(table);
  viewer.addVolume(labels);
  viewer.setInterpolation(true);
  viewer.setSliceType(flat ? viewer.sliceTypeAxial : viewer.sliceTypeMultiplanar);
  viewer.setOpacity(1, element("opacity").value / 100);
}

function describe(result) {
  const body = element("structures");
  body.replaceChildren();
  result.structures.forEach(({ name, voxels, ml }, place) => {
    const row = body.insertRow(), mark = document.createElement("span");
    mark.className = "mark";
    mark.style.background = `rgb(${colourOf(place)})`;
    row.insertCell().append(mark, name);
    row.insertCell().textContent = ml === null ? `${voxels} pixels` : `${ml.toFixed(ml < 10 ? 3 : 1)} ml`;
  });
  const link = element("download");
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([result.file]));
  link.download = result.name;
  link.textContent = `Save ${result.name}`;
  element("result").hidden = false;
}

let busy = false;

async function segment(list) {
  if (busy || !list.length) return;
  busy = true;
  element("result").hidden = true;
  element("bar").hidden = false;
  try {
    tell("Reading ...");
    const files = [];
    for (const file of list) files.push({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) });
    const options = { mirroring: element("mirroring").checked };
    const result = await ask("segment", { files, options }, files.map((file) => file.bytes.buffer), (share) => {
      element("bar").value = share;
      tell(`Segmenting: ${Math.round(100 * share)} %`);
    });
    window.autosegResult = result;
    describe(result);
    tell([`Done in ${result.seconds.toFixed(1)} s.`, ...result.remarks].join(" "));
    await show(result).catch((problem) => tell(`Done. It cannot be shown here: ${problem.message} The result can be saved.`, true));
  } catch (problem) {
    tell(problem.message, true);
  } finally {
    busy = false;
    element("bar").hidden = true;
    element("bar").value = 0;
  }
}

// Folders that are dropped are looked through at any depth.
async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const found = [];
  const visit = async (entry) => {
    if (entry.isFile) return found.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return;
      for (const each of some) await visit(each);
    }
  };
  for (const entry of entries) await visit(entry);
  return found.filter((file) => !file.name.startsWith("."));
}

function connect() {
  const zone = element("drop");
  for (const id of ["file", "folder"]) element(id).addEventListener("change", ({ target }) => segment([...target.files]).then(() => (target.value = "")));
  zone.addEventListener("dragover", (event) => event.preventDefault());
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    segment(await droppedFiles(event.dataTransfer));
  });
  element("opacity").addEventListener("input", ({ target }) => viewer && viewer.setOpacity(1, target.value / 100));
}

window.autosegReady = loaded().then(
  () => {
    connect();
    document.body.classList.add("ready");
    tell("Ready. Choose an image, or drop it here.");
  },
  (problem) => tell(`The model cannot be loaded: ${problem.message}`, true),
);
