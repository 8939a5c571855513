// Files of images, read and written: NIfTI-1, PNG, and DICOM series without compression.
//
// An image is { channels: [Float32Array], shape: [z, y, x], spacing: [z, y, x] in mm, directions: unit vectors of x, y
// and z in the patient's space (LPS) or null, affine: 3 x 4 of (x, y, z) to LPS or null, source: what it came from }.
"use strict";

class ImageProblem extends Error {}

const startsWith = (bytes, ...values) => values.every((value, place) => bytes[place] === value);

async function throughStream(bytes, stream) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

async function unpacked(bytes, name, format = "gzip") {
  try {
    return await throughStream(bytes, new DecompressionStream(format));
  } catch (problem) {
    throw new ImageProblem(`${name} is damaged: it cannot be unpacked. Get it from its source again.`);
  }
}

const packed = (bytes, format = "gzip") => throughStream(bytes, new CompressionStream(format));

// ---- NIfTI ----

const NIFTI_TYPES = {
  2: [1, (v, at) => v.getUint8(at)], 256: [1, (v, at) => v.getInt8(at)],
  4: [2, (v, at, le) => v.getInt16(at, le)], 512: [2, (v, at, le) => v.getUint16(at, le)],
  8: [4, (v, at, le) => v.getInt32(at, le)], 768: [4, (v, at, le) => v.getUint32(at, le)],
  16: [4, (v, at, le) => v.getFloat32(at, le)], 64: [8, (v, at, le) => v.getFloat64(at, le)],
};

async function readNifti(given, name) {
  const bytes = startsWith(given, 0x1f, 0x8b) ? await unpacked(given, name) : given;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 352) throw new ImageProblem(`${name} is too short for a NIfTI file.`);
  const le = view.getInt32(0, true) === 348;
  if (!le && view.getInt32(0, false) !== 348)
    throw new ImageProblem(`${name} is no NIfTI-1 file. Write it as NIfTI-1 (.nii or .nii.gz).`);
  const dim = Array.from({ length: 8 }, (_, n) => view.getInt16(40 + 2 * n, le));
  const rank = dim[0], lengths = dim.slice(1, rank + 1);
  if (rank < 2 || rank > 7 || lengths.some((length) => length < 1))
    throw new ImageProblem(`${name} has the dimensions ${dim}, which no image has. Restore it.`);
  if (lengths.slice(3).some((length) => length > 1))
    throw new ImageProblem(`${name} has more than three dimensions. Write one file for each channel.`);
  const unit = view.getUint8(123) & 7;
  if (unit === 1 || unit === 3)
    throw new ImageProblem(`${name} states its lengths in ${unit === 1 ? "metres" : "micrometres"}. Write mm.`);
  const [nx, ny, nz] = [lengths[0], lengths[1], lengths[2] || 1];
  const code = view.getInt16(70, le), type = NIFTI_TYPES[code];
  if (!type) throw new ImageProblem(`${name} has voxels of the type ${code}, which is not read here. Write numbers.`);
  const offset = Math.max(352, view.getFloat32(108, le)), count = nx * ny * nz;
  if (bytes.length < offset + count * type[0])
    throw new ImageProblem(`${name} ends before its last voxel. Copy it again.`);
  let slope = view.getFloat32(112, le), shift = view.getFloat32(116, le);
  if (!Number.isFinite(slope) || slope === 0) [slope, shift] = [1, 0];
  if (!Number.isFinite(shift)) shift = 0;
  const array = new Float32Array(count);
  for (let n = 0; n < count; n++) {
    const value = type[1](view, offset + n * type[0], le) * slope + shift;
    array[n] = Number.isFinite(value) ? value : 0;
  }
  const pixdim = [1, 2, 3].map((n) => Math.abs(view.getFloat32(76 + 4 * n, le)) || 1);
  const flat = rank === 2;
  const affine = niftiAffine(view, le, pixdim, name);
  return {
    channels: [array],
    shape: [nz, ny, nx],
    spacing: flat ? [Math.max(pixdim[0], pixdim[1]) * 999, pixdim[1], pixdim[0]] : [pixdim[2], pixdim[1], pixdim[0]],
    directions: directionsOf(affine),
    affine,
    source: { kind: "nifti", header: bytes.slice(0, 352), name },
  };
}

// Indices to mm in LPS: of the sform or, without one, of the qform.
function niftiAffine(view, le, pixdim, name) {
  const qcode = view.getInt16(252, le), scode = view.getInt16(254, le);
  const f = (at) => view.getFloat32(at, le);
  let q = null, s = null;
  if (qcode > 0) {
    const [b, c, d] = [f(256), f(260), f(264)], a = Math.sqrt(Math.max(0, 1 - b * b - c * c - d * d));
    const k = f(76) < 0 ? -1 : 1;
    const r = [
      [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c) * k],
      [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b) * k],
      [2 * (b * d - a * c), 2 * (c * d + a * b), (a * a + d * d - b * b - c * c) * k],
    ];
    q = r.map((row, n) => [...row.map((value, axis) => value * pixdim[axis]), f(268 + 4 * n)]);
  }
  if (scode > 0) s = [0, 1, 2].map((row) => [0, 1, 2, 3].map((n) => f(280 + 16 * row + 4 * n)));
  if (s && [0, 1, 2].some((axis) => !Math.hypot(s[0][axis], s[1][axis], s[2][axis]))) s = null;
  const toLps = (rows) => rows && rows.map((row, n) => (n < 2 ? row.map((value) => -value) : row));
  [q, s] = [toLps(q), toLps(s)];
  if (q && s && JSON.stringify(nearest(directionsOf(q))) !== JSON.stringify(nearest(directionsOf(s))))
    throw new ImageProblem(`${name} says two things of how it lies: qform and sform contradict each other. Mend its header.`);
  // Without both, ITK lays the axes along those of the patient.
  return s || q || [[pixdim[0], 0, 0, 0], [0, pixdim[1], 0, 0], [0, 0, pixdim[2], 0]];
}

function directionsOf(affine) {
  if (!affine) return null;
  return [0, 1, 2].map((axis) => {
    const column = affine.map((row) => row[axis]), length = Math.hypot(...column);
    return column.map((value) => value / length);
  });
}

// A NIfTI-1 file of an array on an image's grid. Without a place in a patient, rows run downwards.
function niftiOf(array, image, code, bits) {
  const header = new Uint8Array(352), view = new DataView(header.buffer);
  const [nz, ny, nx] = image.shape, own = image.source.kind === "nifti";
  if (own) header.set(image.source.header);
  const le = !own || view.getInt32(0, true) === 348;
  if (!own) {
    view.setInt32(0, 348, true);
    [3, nx, ny, nz, 1, 1, 1, 1].forEach((value, n) => view.setInt16(40 + 2 * n, value, true));
    const steps = image.affine ? image.spacing : [1, 1, 1];
    [1, steps[2], steps[1], steps[0]].forEach((value, n) => view.setFloat32(76 + 4 * n, value, true));
    view.setUint8(123, 2);
    const lps = image.affine || [[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]];
    view.setInt16(254, 1, true);
    lps.forEach((row, r) => row.forEach((value, n) => view.setFloat32(280 + 16 * r + 4 * n, r < 2 ? -value : value, true)));
  }
  view.setFloat32(108, 352, le);
  view.setInt16(70, code, le);
  view.setInt16(72, bits, le);
  [112, 116, 124, 128].forEach((at, n) => view.setFloat32(at, n === 0 ? 1 : 0, le));
  header.fill(0, 348, 352); // no extensions
  header.set([0x6e, 0x2b, 0x31, 0], 344);
  const result = new Uint8Array(352 + (array.length * bits) / 8);
  result.set(header);
  const body = new DataView(result.buffer);
  const write = { 2: "setUint8", 512: "setUint16", 16: "setFloat32" }[code];
  for (let n = 0; n < array.length; n++) body[write](352 + (n * bits) / 8, array[n], le);
  return result;
}

// ---- PNG ----

async function readPng(bytes, name) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts = [];
  let head = null, palette = null;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at), type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (type === "IHDR") head = { width: view.getUint32(at + 8), height: view.getUint32(at + 12), bits: data[8], colour: data[9], woven: data[12] };
    if (type === "PLTE") palette = data;
    if (type === "IDAT") parts.push(data);
    if (type === "IEND") break;
    at += 12 + length;
  }
  if (!head || !parts.length) throw new ImageProblem(`${name} is a damaged PNG. Get it from its source again.`);
  if (head.woven) throw new ImageProblem(`${name} is an interlaced PNG, which is not read here. Save it without.`);
  const samples = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }[head.colour];
  if (!samples) throw new ImageProblem(`${name} is a damaged PNG. Get it from its source again.`);
  const raw = unfiltered(await unpacked(new Uint8Array(await new Blob(parts).arrayBuffer()), name, "deflate"), head, samples, name);
  return pictureOf(raw, head, samples, palette, name);
}

function unfiltered(data, { width, height, bits }, samples, name) {
  const row = Math.ceil((width * samples * bits) / 8), step = Math.max(1, (samples * bits) >> 3);
  if (data.length < (row + 1) * height) throw new ImageProblem(`${name} ends before its last row. Copy it again.`);
  const result = new Uint8Array(row * height);
  for (let y = 0; y < height; y++) {
    const kind = data[y * (row + 1)], from = y * (row + 1) + 1, to = y * row;
    for (let x = 0; x < row; x++) {
      const left = x >= step ? result[to + x - step] : 0, up = y ? result[to + x - row] : 0;
      const corner = y && x >= step ? result[to + x - row - step] : 0;
      let guess = 0;
      if (kind === 1) guess = left;
      else if (kind === 2) guess = up;
      else if (kind === 3) guess = (left + up) >> 1;
      else if (kind === 4) {
        const p = left + up - corner, a = Math.abs(p - left), b = Math.abs(p - up), c = Math.abs(p - corner);
        guess = a <= b && a <= c ? left : b <= c ? up : corner;
      }
      result[to + x] = data[from + x] + guess;
    }
  }
  return result;
}

// The values that nnU-Net's reader of pictures gives: one bit is 0 and 1, a palette is colours, colours keep 8 of 16 bits.
function pictureOf(raw, { width, height, bits, colour }, samples, palette, name) {
  const row = Math.ceil((width * samples * bits) / 8);
  if (colour === 4) throw new ImageProblem(`${name} is grey with transparency. Save it as grey or as RGB.`);
  if (bits === 2 || (bits === 4 && colour === 0)) throw new ImageProblem(`${name} has ${bits} bits a pixel. Save it with 8.`);
  const value = (x, y, sample) => {
    const at = x * samples + sample;
    if (bits === 16) return colour === 0 ? raw[y * row + 2 * at] * 256 + raw[y * row + 2 * at + 1] : raw[y * row + 2 * at];
    if (bits === 8) return raw[y * row + at];
    return (raw[y * row + ((at * bits) >> 3)] >> (8 - bits - ((at * bits) & 7))) & ((1 << bits) - 1);
  };
  const count = palette && colour === 3 ? 3 : samples;
  const channels = Array.from({ length: count }, () => new Float32Array(width * height));
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++, at++)
      for (let c = 0; c < count; c++) channels[c][at] = colour === 3 ? palette[3 * value(x, y, 0) + c] : value(x, y, c);
  return { channels, shape: [1, height, width], spacing: [999, 1, 1], directions: null, affine: null, source: { kind: "png", name } };
}

async function pngOf(labels, shape) {
  const [, height, width] = shape, rows = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++) rows.set(labels.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const head = new Uint8Array(13), view = new DataView(head.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  head.set([8, 0, 0, 0, 0], 8);
  const chunks = [["IHDR", head], ["IDAT", await packed(rows, "deflate")], ["IEND", new Uint8Array(0)]].map(([type, data]) => {
    const chunk = new Uint8Array(12 + data.length), out = new DataView(chunk.buffer);
    out.setUint32(0, data.length);
    chunk.set(new TextEncoder().encode(type), 4);
    chunk.set(data, 8);
    out.setUint32(8 + data.length, checksum(chunk.subarray(4, 8 + data.length)));
    return chunk;
  });
  const parts = [Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a), ...chunks];
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

function checksum(bytes) {
  let sum = ~0;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum >>> 0;
}
