// DICOM series of classic, uncompressed slices, placed by the position and the directions of each.
"use strict";

const PLAIN_SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"];
const ROUNDED_MM = 0.06; // positions with one decimal; autoseg.data.dicom.placing says where the figures come from

function isDicom(bytes) {
  return bytes.length > 132 && String.fromCharCode(...bytes.subarray(128, 132)) === "DICM";
}

function sliceOf({ name, bytes }) {
  let set;
  try {
    set = dicomParser.parseDicom(bytes);
  } catch (problem) {
    throw new ImageProblem(`${name} is damaged DICOM. Get it from its source again.`);
  }
  const texts = (tag) => (set.string(tag) || "").split("\\").map(Number);
  const syntax = set.string("x00020010") || PLAIN_SYNTAXES[0];
  return {
    name, set, syntax,
    series: set.string("x0020000e") || "",
    modality: set.string("x00080060") || "",
    rows: set.uint16("x00280010"), columns: set.uint16("x00280011"),
    spacing: texts("x00280030"), position: texts("x00200032"), cosines: texts("x00200037"),
    frames: Number(set.string("x00280008") || 1), samples: set.uint16("x00280002") || 1,
    pixels: set.elements.x7fe00010,
  };
}

// The largest series of what is given, and what the others were.
function readDicom(files) {
  const series = new Map(), ignored = [];
  for (const file of files) {
    const slice = sliceOf(file);
    if (!slice.pixels || !slice.rows) ignored.push(slice.name);
    else series.set(slice.series, [...(series.get(slice.series) || []), slice]);
  }
  const sorted = [...series.values()].sort((a, b) => b.length - a.length);
  if (!sorted.length) throw new ImageProblem("None of these DICOM files holds an image.");
  const image = volumeOf(sorted[0]);
  image.remarks = sorted.slice(1).map((each) => `A series of ${each.length} ${each[0].modality} slices was left out.`);
  return image;
}

function volumeOf(slices) {
  const first = slices[0];
  for (const slice of slices) refuseWhatIsNotPlain(slice, first);
  const unit = (v) => v.map((value) => value / Math.hypot(...v));
  const dot = (a, b) => a.reduce((sum, value, n) => sum + value * b[n], 0);
  const mean = [0, 1, 2, 3, 4, 5].map((n) => slices.reduce((sum, s) => sum + s.cosines[n], 0) / slices.length);
  const row = unit(mean.slice(0, 3));
  const column = unit(mean.slice(3).map((value, n) => value - row[n] * dot(row, mean.slice(3))));
  const normal = [row[1] * column[2] - row[2] * column[1], row[2] * column[0] - row[0] * column[2], row[0] * column[1] - row[1] * column[0]];
  const order = slices.map((slice) => ({ slice, along: dot(slice.position, normal) })).sort((a, b) => a.along - b.along);
  const count = order.length, origin = order[0].slice.position;
  const step = count > 1 ? (order[count - 1].along - order[0].along) / (count - 1) : Number(first.set.string("x00180050")) || 1;
  order.forEach(({ slice, along }, n) => {
    const beside = Math.abs(along - order[0].along - n * step);
    if (count > 1 && (step <= 0 || beside > Math.min(Math.max(ROUNDED_MM, 0.05 * step), 0.25 * step)))
      throw new ImageProblem(`At ${slice.name} the distance between slices changes: one is missing, or too much. Give the whole series and no other.`);
    const apart = slice.position.map((value, axis) => value - origin[axis]);
    const sideways = Math.max(Math.abs(dot(apart, row)), Math.abs(dot(apart, column)));
    if (sideways > Math.max(ROUNDED_MM, 0.25 * Math.min(...first.spacing)))
      throw new ImageProblem("The slices do not lie straight above each other (a tilted gantry). Use autoseg predict for this series.");
  });
  const plane = first.rows * first.columns, array = new Float32Array(plane * count);
  const outside = [];
  order.forEach(({ slice }, n) => readSlice(slice, array.subarray(n * plane, (n + 1) * plane), n * plane, outside));
  fillPadding(array, outside);
  const axes = [row, column, normal], steps = [first.spacing[1], first.spacing[0], step];
  return {
    channels: [array], shape: [count, first.rows, first.columns], spacing: [step, first.spacing[0], first.spacing[1]],
    directions: axes, affine: [0, 1, 2].map((r) => [...axes.map((axis, n) => axis[r] * steps[n]), origin[r]]),
    source: { kind: "dicom", name: first.modality },
  };
}

function refuseWhatIsNotPlain(slice, first) {
  const say = (text) => { throw new ImageProblem(`${slice.name} ${text}`); };
  if (!PLAIN_SYNTAXES.includes(slice.syntax)) say("is compressed. Export the series without compression.");
  if (slice.frames > 1) say("holds many slices in one file. Use autoseg predict, or export classic slices.");
  if (slice.samples > 1) say("is in colour, which no series of slices is.");
  if (slice.cosines.length !== 6 || slice.position.length !== 3 || ![...slice.cosines, ...slice.position, ...slice.spacing].every(Number.isFinite))
    say("does not say where it lies in the patient.");
  if (slice.rows !== first.rows || slice.columns !== first.columns || slice.spacing.some((value, n) => value !== first.spacing[n]))
    say(`is of another size than ${first.name}. Give slices of one volume.`);
  if (slice.cosines.some((value, n) => Math.abs(value - first.cosines[n]) > 2e-3)) say(`lies in another direction than ${first.name}.`);
  if (slice.set.elements.x00283000) say("has its values in a table, which is not read here. Use autoseg predict.");
}

function readSlice({ set, pixels, name, modality }, target, start, outside) {
  const bits = set.uint16("x00280100"), stored = set.uint16("x00280101") || bits, signed = set.uint16("x00280103") === 1;
  if (bits !== 8 && bits !== 16) throw new ImageProblem(`${name} has ${bits} bits a voxel. Use autoseg predict.`);
  if (pixels.length < (target.length * bits) / 8) throw new ImageProblem(`${name} ends before its last voxel. Copy it again.`);
  const view = new DataView(set.byteArray.buffer, set.byteArray.byteOffset + pixels.dataOffset, pixels.length);
  const slope = set.string("x00281053") === undefined ? 1 : Number(set.string("x00281053"));
  const shift = Number(set.string("x00281052") || 0);
  const turned = set.string("x00280004") === "MONOCHROME1" && !["CT", "PT"].includes(modality);
  const top = signed ? -1 : 2 ** stored - 1;
  const padding = set.elements.x00280120 && (signed ? set.int16("x00280120") : set.uint16("x00280120"));
  const limit = set.elements.x00280121 ? (signed ? set.int16("x00280121") : set.uint16("x00280121")) : padding;
  const spare = bits - stored;
  for (let n = 0; n < target.length; n++) {
    let value = bits === 8 ? view.getUint8(n) : view.getUint16(2 * n, true);
    // Above the stored bits there may be others; below, the sign.
    value = (value << (32 - bits + spare));
    value = signed ? value >> (32 - stored) : value >>> (32 - stored);
    if (padding !== undefined && padding !== null && value >= Math.min(padding, limit) && value <= Math.max(padding, limit)) outside.push(start + n);
    target[n] = (turned ? top - value : value) * slope + shift;
  }
}

// Padding becomes the least value of the rest.
function fillPadding(array, outside) {
  if (!outside.length) return;
  const is = new Uint8Array(array.length);
  for (const at of outside) is[at] = 1;
  let least = Infinity, most = -Infinity;
  for (let at = 0; at < array.length; at++) {
    if (array[at] > most) most = array[at];
    if (!is[at] && array[at] < least) least = array[at];
  }
  if (least === Infinity) least = most;
  for (const at of outside) array[at] = least;
}
