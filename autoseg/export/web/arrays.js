// Arrays and grids: what autoseg's preprocessing and its way back do, on typed arrays in the order (z, y, x).
"use strict";

const sizeOf = (shape) => shape.reduce((product, length) => product * length, 1);

// Halves go to the even number, as in Python and numpy.
function roundHalfEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

// The array whose axis k is axes[k] of the given one.
function transposed(array, shape, axes) {
  const newShape = axes.map((axis) => shape[axis]);
  if (axes.every((axis, place) => axis === place)) return { array: array.slice(), shape: newShape };
  const strides = [shape[1] * shape[2], shape[2], 1];
  const [a, b, c] = axes.map((axis) => strides[axis]);
  const result = new array.constructor(array.length);
  let to = 0;
  for (let z = 0; z < newShape[0]; z++)
    for (let y = 0; y < newShape[1]; y++) {
      let from = z * a + y * b;
      for (let x = 0; x < newShape[2]; x++, from += c) result[to++] = array[from];
    }
  return { array: result, shape: newShape };
}

function flipped(array, shape, flips) {
  if (!flips.some(Boolean)) return array.slice();
  const result = new array.constructor(array.length);
  const [depth, height, width] = shape;
  let to = 0;
  for (let z = 0; z < depth; z++)
    for (let y = 0; y < height; y++) {
      const row = ((flips[0] ? depth - 1 - z : z) * height + (flips[1] ? height - 1 - y : y)) * width;
      for (let x = 0; x < width; x++) result[to++] = array[row + (flips[2] ? width - 1 - x : x)];
    }
  return result;
}

function boxOf(mask, shape) {
  const low = [...shape], high = [-1, -1, -1];
  let at = 0;
  for (let z = 0; z < shape[0]; z++)
    for (let y = 0; y < shape[1]; y++)
      for (let x = 0; x < shape[2]; x++)
        if (mask[at++]) {
          if (z < low[0]) low[0] = z;
          if (z > high[0]) high[0] = z;
          if (y < low[1]) low[1] = y;
          if (y > high[1]) high[1] = y;
          if (x < low[2]) low[2] = x;
          if (x > high[2]) high[2] = x;
        }
  if (high[0] < 0) return shape.map((length) => [0, length]);
  return low.map((start, axis) => [start, high[axis] + 1]);
}

const shapeOfBox = (box) => box.map(([start, stop]) => stop - start);

function cropped(array, shape, box) {
  const inner = shapeOfBox(box);
  const result = new array.constructor(sizeOf(inner));
  let to = 0;
  for (let z = box[0][0]; z < box[0][1]; z++)
    for (let y = box[1][0]; y < box[1][1]; y++) {
      const row = (z * shape[1] + y) * shape[2];
      result.set(array.subarray(row + box[2][0], row + box[2][1]), to);
      to += inner[2];
    }
  return result;
}

function pasteInto(full, shape, part, box) {
  const inner = shapeOfBox(box);
  let from = 0;
  for (let z = box[0][0]; z < box[0][1]; z++)
    for (let y = box[1][0]; y < box[1][1]; y++) {
      full.set(part.subarray(from, from + inner[2]), (z * shape[1] + y) * shape[2] + box[2][0]);
      from += inner[2];
    }
  return full;
}

// Voxels outside a mask that face neighbours join to the array's border. Axes of one voxel are no way out
// where `flat` says so.
function reachedFromBorder(mask, shape, flat) {
  const [depth, height, width] = shape;
  const reached = new Uint8Array(mask.length);
  const stack = [];
  const take = (at) => {
    if (!mask[at] && !reached[at]) {
      reached[at] = 1;
      stack.push(at);
    }
  };
  const open = shape.map((length) => !(flat && length === 1));
  for (let z = 0, at = 0; z < depth; z++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++, at++)
        if (
          (open[0] && (z === 0 || z === depth - 1)) ||
          (open[1] && (y === 0 || y === height - 1)) ||
          (open[2] && (x === 0 || x === width - 1))
        )
          take(at);
  const plane = height * width;
  while (stack.length) {
    const at = stack.pop();
    const x = at % width, y = Math.floor(at / width) % height, z = Math.floor(at / plane);
    if (x > 0) take(at - 1);
    if (x < width - 1) take(at + 1);
    if (y > 0) take(at - width);
    if (y < height - 1) take(at + width);
    if (z > 0) take(at - plane);
    if (z < depth - 1) take(at + plane);
  }
  return reached;
}

// Components that hold together through corners too: a number for each voxel from 1 on, and their sizes.
function componentsOf(mask, shape) {
  const [depth, height, width] = shape;
  const marks = new Int32Array(mask.length), sizes = [0];
  const stack = [];
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || marks[start]) continue;
    const number = sizes.length;
    sizes.push(0);
    marks[start] = number;
    stack.push(start);
    while (stack.length) {
      const at = stack.pop();
      sizes[number]++;
      const x = at % width, y = Math.floor(at / width) % height, z = Math.floor(at / (height * width));
      for (let dz = z > 0 ? -1 : 0; dz <= (z < depth - 1 ? 1 : 0); dz++)
        for (let dy = y > 0 ? -1 : 0; dy <= (y < height - 1 ? 1 : 0); dy++)
          for (let dx = x > 0 ? -1 : 0; dx <= (x < width - 1 ? 1 : 0); dx++) {
            const next = at + (dz * height + dy) * width + dx;
            if (mask[next] && !marks[next]) {
              marks[next] = number;
              stack.push(next);
            }
          }
    }
  }
  return { marks, sizes };
}

// Centres of new voxels in old voxels; the outer edges of both grids coincide.
const coordinate = (length, newLength, number) => ((number + 0.5) * length) / newLength - 0.5;
const clamp = (value, low, high) => (value < low ? low : value > high ? high : value);

const ANISOTROPY = 3;

// The axis that is resampled by nearest neighbour, or null: nnU-Net's rule.
function separateAxis(spacing, target, force) {
  if (force === false) return null;
  for (const candidate of force ? [spacing] : [spacing, target]) {
    const coarsest = Math.max(...candidate);
    if (force || coarsest / Math.min(...candidate) > ANISOTROPY) {
      const axes = [0, 1, 2].filter((axis) => coarsest / candidate[axis] === 1);
      return axes.length === 1 ? axes[0] : null;
    }
  }
  return null;
}

const withLength = (shape, axis, length) => shape.map((old, place) => (place === axis ? length : old));

function takeNearest(array, shape, newShape) {
  const index = newShape.map((length, axis) =>
    Int32Array.from({ length }, (_, n) =>
      clamp(Math.floor(coordinate(shape[axis], length, n) + 0.5), 0, shape[axis] - 1)));
  const result = new array.constructor(sizeOf(newShape));
  let to = 0;
  for (let z = 0; z < newShape[0]; z++)
    for (let y = 0; y < newShape[1]; y++) {
      const row = (index[0][z] * shape[1] + index[1][y]) * shape[2];
      for (let x = 0; x < newShape[2]; x++) result[to++] = array[row + index[2][x]];
    }
  return result;
}

// scipy's spline zoom: edges are repeated 12 times before the filter of the cubic spline.
const PAD = 12;
const POLE = Math.sqrt(3) - 2;

function splineFilter(line) {
  const n = line.length;
  for (let i = 0; i < n; i++) line[i] *= 6;
  const last = Math.pow(POLE, n), first = line[0];
  let power = POLE;
  line[0] += last * line[n - 1];
  for (let i = 1; i < n; i++) {
    line[0] += power * (line[i] + last * line[n - 1 - i]);
    power *= POLE;
  }
  line[0] = (line[0] * POLE) / (1 - last * last) + first;
  for (let i = 1; i < n; i++) line[i] += POLE * line[i - 1];
  line[n - 1] *= POLE / (POLE - 1);
  for (let i = n - 2; i >= 0; i--) line[i] = POLE * (line[i + 1] - line[i]);
}

// From one line of samples to another length; `line` has PAD places on both sides for a cubic spline.
function lineResampler(length, newLength, order) {
  const starts = new Int32Array(newLength);
  const taps = order === 3 ? 4 : 2;
  const weights = new Float64Array(newLength * taps);
  for (let n = 0; n < newLength; n++) {
    const centre = coordinate(length, newLength, n);
    if (order === 3) {
      const floor = Math.floor(centre), t = centre - floor, u = 1 - t;
      starts[n] = floor - 1 + PAD;
      weights.set([(u * u * u) / 6, (4 - 6 * t * t + 3 * t * t * t) / 6,
        (4 - 6 * u * u + 3 * u * u * u) / 6, (t * t * t) / 6], n * 4);
    } else {
      const inside = clamp(centre, 0, length - 1), floor = Math.min(Math.floor(inside), Math.max(0, length - 2));
      starts[n] = floor;
      weights.set(length === 1 ? [1, 0] : [1 - (inside - floor), inside - floor], n * 2);
    }
  }
  const pad = order === 3 ? PAD : 0;
  const line = new Float64Array(length + 2 * pad + 1);
  const body = line.subarray(0, length + 2 * pad);
  return (from, base, stride, to, newBase, newStride) => {
    for (let i = 0; i < length; i++) line[pad + i] = from[base + i * stride];
    for (let i = 0; i < pad; i++) {
      line[i] = line[pad];
      line[pad + length + i] = line[pad + length - 1];
    }
    if (order === 3) splineFilter(body);
    for (let n = 0; n < newLength; n++) {
      let sum = 0;
      for (let k = 0; k < taps; k++) sum += weights[n * taps + k] * line[starts[n] + k];
      to[newBase + n * newStride] = sum;
    }
  };
}

function resampledAlong(array, shape, axis, newLength, order) {
  const newShape = withLength(shape, axis, newLength);
  const result = new Float32Array(sizeOf(newShape));
  const resample = lineResampler(shape[axis], newLength, order);
  const after = sizeOf(shape.slice(axis + 1)), before = sizeOf(shape.slice(0, axis));
  for (let b = 0; b < before; b++)
    for (let a = 0; a < after; a++)
      resample(array, b * shape[axis] * after + a, after, result, b * newLength * after + a, after);
  return result;
}

// All axes whose length differs; the result stays in the input's range, or in that of each of its slices.
function resampledTogether(array, shape, newShape, order, separate) {
  const number = separate === null ? () => 0 : indexAlong(shape, separate);
  const count = separate === null ? 1 : shape[separate];
  const low = new Float32Array(count).fill(Infinity), high = new Float32Array(count).fill(-Infinity);
  for (let at = 0; at < array.length; at++) {
    const n = number(at), value = array[at];
    if (value < low[n]) low[n] = value;
    if (value > high[n]) high[n] = value;
  }
  let result = array, now = shape;
  // Shrink early, grow late.
  const axes = [0, 1, 2].filter((axis) => shape[axis] !== newShape[axis]);
  axes.sort((a, b) => newShape[a] / shape[a] - newShape[b] / shape[b]);
  for (const axis of axes) {
    result = resampledAlong(result, now, axis, newShape[axis], order);
    now = withLength(now, axis, newShape[axis]);
  }
  if (result === array) return array.slice();
  const place = separate === null ? () => 0 : indexAlong(newShape, separate);
  for (let at = 0; at < result.length; at++) {
    const n = place(at);
    result[at] = clamp(result[at], low[n], high[n]);
  }
  return result;
}

function indexAlong(shape, axis) {
  const after = sizeOf(shape.slice(axis + 1));
  return (at) => Math.floor(at / after) % shape[axis];
}

// One channel of an image on another grid, by a spline of order 0, 1 or 3.
function resampledChannel(array, shape, newShape, order, separate) {
  if (shape.every((length, axis) => length === newShape[axis])) return Float32Array.from(array);
  if (order === 0) return takeNearest(array, shape, newShape);
  if (separate === null) return resampledTogether(array, shape, newShape, order, null);
  if (newShape[separate] < shape[separate]) {
    const fewer = withLength(shape, separate, newShape[separate]);
    return resampledTogether(takeNearest(array, shape, fewer), fewer, newShape, order, separate);
  }
  const between = withLength(newShape, separate, shape[separate]);
  return takeNearest(resampledTogether(array, shape, between, order, separate), between, newShape);
}

// Logits or probabilities of one class on the grid of the image: linear, or the nearest along some axes.
function restoredChannel(array, shape, newShape, nearest) {
  let result = array, now = shape;
  for (const axis of [0, 1, 2]) {
    if (newShape[axis] === now[axis]) continue;
    const next = withLength(now, axis, newShape[axis]);
    result = nearest[axis] ? takeNearest(result, now, next)
      : resampledAlong(result, now, axis, newShape[axis], 1);
    now = next;
  }
  return result;
}
