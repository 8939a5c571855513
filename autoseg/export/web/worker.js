// The worker: holds the networks, and segments what the page sends, so that the page stays alive meanwhile.
"use strict";

let model = null, sessions = null;

async function load({ description, runtime, module, networks }) {
  model = description;
  ort.env.wasm.numThreads = 1; // more need headers that a folder on a disk cannot send
  ort.env.wasm.wasmBinary = runtime;
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([module], { type: "text/javascript" })) };
  ort.env.logLevel = "error";
  sessions = [];
  for (const member of model.members) {
    const own = [];
    for (const name of member.networks) own.push(await ort.InferenceSession.create(networks[name], { executionProviders: ["wasm"] }));
    sessions.push(own);
  }
}

// One image of one or several files: its channels in the order of their names, or the slices of a series.
async function readImage(files) {
  if (files.every(({ bytes }) => isDicom(bytes))) return readDicom(files);
  const images = files.filter(({ name, bytes }) => /\.(nii|nii\.gz|png)$/i.test(name) && !isDicom(bytes));
  const series = files.filter(({ bytes }) => isDicom(bytes));
  if (!images.length && series.length) return readDicom(series);
  if (!images.length) throw new ImageProblem(`${files[0].name} is neither NIfTI nor PNG nor DICOM.`);
  images.sort((a, b) => (a.name < b.name ? -1 : 1));
  const read = [];
  for (const { name, bytes } of images) read.push(await (startsWith(bytes, 0x89, 0x50, 0x4e, 0x47) ? readPng : readNifti)(bytes, name));
  for (const image of read)
    if (String(image.shape) !== String(read[0].shape)) throw new ImageProblem("The files of the channels have different sizes. Give one image at a time.");
  return { ...read[0], channels: read.flatMap((image) => image.channels) };
}

// Channels whose names say what scanner their images come from, as in autoseg.data.dicom_objects.series_inputs.
const SCANNERS = { CT: ["ct", "cta", "cect", "ncct"], PT: ["pet", "pt", "suv"], US: ["us", "ultrasound"],
  MR: ["mr", "mri", "t1", "t1w", "t1c", "t1ce", "t1gd", "t2", "t2w", "flair", "dwi", "adc"] };

function scannerOf(channel) {
  const words = channel.toLowerCase().split(/[^a-z0-9]+/);
  for (const word of words) for (const [scanner, names] of Object.entries(SCANNERS)) if (names.includes(word)) return scanner;
  return null;
}

// A picture has no place in a patient, and a volume has one; a series is of one scanner.
function refuseAnotherKind({ source }) {
  const pictures = model.reader === "NaturalImage2DIO";
  if (pictures !== (source.kind === "png"))
    throw new ImageProblem(`The model learnt from ${pictures ? "pictures (PNG)" : "volumes (NIfTI or DICOM)"}. Give it one of those.`);
  const wanted = scannerOf(model.channels[0]);
  if (source.kind !== "dicom") return;
  if (wanted && source.name && source.name !== wanted)
    throw new ImageProblem(`The series is ${source.name}, and the model learnt from ${model.channels[0]}. Give it such a series.`);
  if (source.name === "PT") throw new ImageProblem("The page does not read PET series, whose values need a scale. Use autoseg predict.");
}

async function segment({ files, options }, tick) {
  const image = await readImage(files);
  refuseAnotherKind(image);
  const began = performance.now();
  const labels = await segmentImage(image, model, sessions, options, tick);
  const seconds = (performance.now() - began) / 1000;
  const wide = Math.max(...labelValues()) > 254;
  const nifti = niftiOf(labels, image, wide ? 512 : 2, wide ? 16 : 8);
  const flat = image.source.kind === "png";
  const file = flat ? await pngOf(labels, image.shape) : await packed(nifti);
  return {
    seconds, shape: image.shape, remarks: image.remarks || [], structures: structuresOf(labels, image, flat),
    image: niftiOf(image.channels[0], image, 16, 32), labels: nifti,
    file, name: `${nameOf(files, image)}${flat ? ".png" : ".nii.gz"}`,
  };
}

const labelValues = () => Object.values(model.labels.names).flat();

// Of each structure its voxels, and in ml where there are millimetres.
function structuresOf(labels, image, flat) {
  const counts = new Map();
  for (const value of labels) counts.set(value, (counts.get(value) || 0) + 1);
  const voxel = sizeOf(image.spacing) / 1000;
  return Object.entries(model.labels.names).filter(([, value]) => value !== 0 && value !== model.labels.ignore).map(([name, value]) => {
    const voxels = [value].flat().reduce((sum, each) => sum + (counts.get(each) || 0), 0);
    return { name, values: [value].flat(), voxels, ml: flat || image.spacing[0] > 500 ? null : voxels * voxel };
  });
}

function nameOf(files, image) {
  const stem = image.source.kind === "dicom" ? "series" : image.source.name.replace(/\.(nii\.gz|nii|png)$/i, "").replace(/_\d{4}$/, "");
  return `${stem}_segmented`;
}

self.onmessage = async ({ data }) => {
  const { number, kind } = data;
  try {
    const tick = (share) => self.postMessage({ number, share });
    const answer = kind === "load" ? await load(data) : await segment(data, tick);
    const parts = answer ? [answer.image.buffer, answer.labels.buffer, answer.file.buffer] : [];
    self.postMessage({ number, answer: answer || {} }, parts);
  } catch (problem) {
    const memory = problem instanceof RangeError || /memory|allocation/i.test(problem.message);
    const text = problem instanceof ImageProblem ? problem.message
      : memory ? "There is not enough memory in this browser for this image. Use the bundle, or autoseg predict."
      : `An error that was not foreseen: ${problem.message}`;
    self.postMessage({ number, problem: text, stack: String(problem.stack) });
  }
};
