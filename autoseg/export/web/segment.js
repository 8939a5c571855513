// From an image to its segmentation: the steps of autoseg.bundle.segment, in its order, with onnxruntime-web.
"use strict";

// Voxels times heads that a browser's arrays hold with some room left.
const MOST_NUMBERS = 400e6;

// ---- How it is stored ----

// For each row the column that it follows, each column once, and whether it runs against it.
function nearest(cosines) {
  const orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
  const sum = (order) => order.reduce((total, column, row) => total + Math.abs(cosines[row][column]), 0);
  const best = orders.reduce((a, b) => (sum(b) > sum(a) ? b : a));
  return { along: best, flips: best.map((column, row) => cosines[row][column] < 0) };
}

const RAS = [[-1, 0, 0], [0, -1, 0], [0, 0, 1]];

// The turn that stores an image as the model's are, and the way back; null where none is needed.
function turnOf(image, model) {
  const learnt = model.reader.endsWith("WithReorient") ? { directions: RAS, otherwise: 0 } : model.orientation;
  if (!image.directions || !learnt.directions || learnt.otherwise) return null;
  const cosines = image.directions.map((own) => learnt.directions.map((other) => own.reduce((s, v, n) => s + v * other[n], 0)));
  const { along, flips } = nearest(cosines);
  const axes = [0, 1, 2].map((axis) => 2 - along.indexOf(2 - axis));
  const turned = axes.map((axis) => flips[2 - axis]);
  if (axes.every((axis, n) => axis === n) && !turned.some(Boolean)) return null;
  return { axes, flips: turned, back: { axes: [0, 1, 2].map((axis) => axes.indexOf(axis)), flips: [0, 1, 2].map((axis) => turned[axes.indexOf(axis)]) } };
}

function turnedArray(array, shape, turn) {
  const moved = transposed(array, shape, turn.axes);
  return { array: flipped(moved.array, moved.shape, turn.flips), shape: moved.shape };
}

// ---- Preprocessing ----

function preprocessed(image, member) {
  const steps = member.preprocessing, order = steps.transpose;
  let shape = null;
  let channels = image.channels.map((array) => {
    const moved = transposed(array, image.shape, order);
    shape = moved.shape;
    return moved.array;
  });
  const spacing = order.map((axis) => image.spacing[axis]);
  const full = new Uint8Array(channels[0].length);
  for (const array of channels) for (let n = 0; n < full.length; n++) if (array[n] !== 0) full[n] = 1;
  const before = shape, box = boxOf(full, shape);
  channels = channels.map((array) => cropped(array, before, box));
  const inner = shapeOfBox(box);
  let inside = null;
  if (steps.normalization.some((each) => each.within_nonzero)) {
    const reached = reachedFromBorder(cropped(full, before, box), inner, false);
    inside = reached.map((value) => (value ? 0 : 1));
  }
  channels.forEach((array, n) => normalise(array, steps.normalization[n], inside));
  const target = [...spacing.slice(0, 3 - steps.spacing.length), ...steps.spacing];
  const newShape = inner.map((length, axis) => roundHalfEven((spacing[axis] / target[axis]) * length));
  if (newShape.includes(0)) throw new ImageProblem(`At ${target} mm the image would have ${newShape} voxels. Check its spacing.`);
  const rule = steps.resampling.resampling_fn_data_kwargs;
  const axis = separateAxis(spacing, target, rule.force_separate_z ?? undefined);
  const data = channels.map((array) => resampledChannel(array, inner, newShape, rule.order ?? 3, axis));
  return { data, shape: newShape, box, before, inner, spacing };
}

const TINY = 1e-8;

function zScore(array, inside) {
  let count = 0, sum = 0;
  for (let n = 0; n < array.length; n++) sum += array[n];
  if (inside) for (const value of inside) count += value;
  else count = array.length;
  const mean = Math.fround(sum / Math.max(count, 1));
  let squares = 0;
  for (let n = 0; n < array.length; n++) {
    array[n] = inside && !inside[n] ? 0 : array[n] - mean;
    squares += array[n] * array[n];
  }
  const spread = Math.fround(Math.max(Math.sqrt(squares / Math.max(count, 1)), TINY));
  for (let n = 0; n < array.length; n++) array[n] /= spread;
}

function percentile(sorted, percent) {
  const at = ((sorted.length - 1) * percent) / 100, low = Math.floor(at), high = Math.min(low + 1, sorted.length - 1);
  return Math.fround(sorted[low] + (sorted[high] - sorted[low]) * (at - low));
}

function normalise(array, { scheme, within_nonzero: within, intensities }, region) {
  const inside = within ? region : null;
  if (scheme === "NoNormalization") return;
  if (scheme === "ZScoreNormalization") zScore(array, inside);
  else if (scheme === "CTNormalization") {
    const { percentile_00_5: low, percentile_99_5: high, mean, std } = intensities;
    for (let n = 0; n < array.length; n++) array[n] = Math.fround(clamp(array[n], low, high) - mean) / Math.max(std, TINY);
  } else if (scheme === "RescaleTo01Normalization" || scheme === "RGBTo01Normalization") {
    let low = Infinity, high = -Infinity;
    for (const value of array) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    const colours = scheme === "RGBTo01Normalization";
    if (colours && (low < 0 || high > 255)) throw new ImageProblem(`The image has values from ${low} to ${high}; colours of 8 bits were expected.`);
    const shift = colours ? 0 : low, range = colours ? 255 : Math.max(Math.fround(high - low), TINY);
    for (let n = 0; n < array.length; n++) array[n] = Math.fround(array[n] - shift) / range;
  } else if (scheme === "PercentileZScoreNormalization") {
    const sorted = (inside ? array.filter((_, n) => inside[n]) : array.slice()).sort();
    if (!sorted.length) return;
    const low = percentile(sorted, 0.5), high = percentile(sorted, 99.5);
    if (low === high) return void array.fill(0);
    for (let n = 0; n < array.length; n++) array[n] = inside && !inside[n] ? 0 : clamp(array[n], low, high);
    zScore(array, inside);
  } else throw new ImageProblem(`There is no normalisation ${scheme} on this page. Use the bundle.`);
}

// ---- Sliding window ----

function tileStarts(length, size, step) {
  const count = Math.ceil((length - size) / (size * step)) + 1, distance = (length - size) / Math.max(count - 1, 1);
  return [...new Set(Array.from({ length: count }, (_, n) => roundHalfEven(distance * n)))];
}

const HALF = new Float32Array(1), HALF_BITS = new Uint32Array(HALF.buffer);

// A number rounded to half precision, halves to even.
function toHalf(value) {
  HALF[0] = value;
  const bits = HALF_BITS[0], exponent = ((bits >>> 23) & 255) - 127;
  if (value === 0 || exponent < -25) return 0;
  const unit = 2 ** (Math.max(exponent, -14) - 10);
  return roundHalfEven(HALF[0] / unit) * unit;
}

// Weight of each voxel of a tile: a Gaussian of an eighth of the patch, 10 at its centre.
function importance(patch) {
  const lines = patch.map((size) => {
    const sigma = size / 8, radius = Math.floor(4 * sigma + 0.5), middle = Math.floor(size / 2);
    let sum = 0;
    for (let n = -radius; n <= radius; n++) sum += Math.exp((-0.5 / (sigma * sigma)) * n * n);
    return Float64Array.from({ length: size }, (_, n) =>
      Math.abs(n - middle) > radius ? 0 : Math.exp((-0.5 / (sigma * sigma)) * (n - middle) ** 2) / sum);
  });
  let product = [1];
  for (const line of lines) product = product.flatMap((value) => Array.from(line, (other) => value * other));
  let largest = 0;
  for (const value of product) if (value > largest) largest = value;
  const weights = Float32Array.from(product, (value) => toHalf(Math.fround((value / largest) * 10)));
  let least = Infinity;
  for (const value of weights) if (value > 0 && value < least) least = value;
  return weights.map((value) => value || least);
}

function subsets(axes) {
  return axes.reduce((found, axis) => [...found, ...found.map((each) => [...each, axis])], [[]]);
}

// Mean logits of some networks, { logits: [Float32Array by head], shape }.
async function slidingWindow(networks, data, shape, window, mirroring, tick) {
  const flat = window.patch_size.length === 2, patch = flat ? [1, ...window.patch_size] : window.patch_size;
  const padded = shape.map((length, axis) => Math.max(length, patch[axis]));
  const inner = shape.map((length, axis) => {
    const start = Math.floor((padded[axis] - length) / 2);
    return [start, start + length];
  });
  const channels = data.map((array) => pasteInto(new Float32Array(sizeOf(padded)), padded, array, inner));
  const starts = patch.map((size, axis) =>
    flat && axis === 0 ? Array.from({ length: padded[0] }, (_, n) => n) : tileStarts(padded[axis], size, window.step_size));
  const weights = importance(window.patch_size), size = sizeOf(patch), shares = new Float32Array(sizeOf(padded));
  // Mirrored axes are counted in the patch.
  const copies = subsets(mirroring ? window.mirror_axes.map((axis) => axis + (flat ? 1 : 0)) : []);
  const total = starts.reduce((product, each) => product * each.length, 1);
  let sums = null, done = 0;
  for (const z of starts[0])
    for (const y of starts[1])
      for (const x of starts[2]) {
        const box = [z, y, x].map((start, axis) => [start, start + patch[axis]]);
        const tile = channels.map((array) => cropped(array, padded, box));
        const mean = await meanOf(networks, tile, patch, flat, copies);
        if (!sums) {
          if (mean.length * sizeOf(padded) > MOST_NUMBERS) throw new ImageProblem("The image is too large for a browser. Use the bundle, or autoseg predict.");
          sums = mean.map(() => new Float32Array(sizeOf(padded)));
        }
        for (let part = 0, row = 0; part < patch[0] * patch[1]; part++, row += patch[2]) {
          const at = ((z + Math.floor(part / patch[1])) * padded[1] + y + (part % patch[1])) * padded[2] + x;
          for (let n = 0; n < patch[2]; n++) {
            const weight = weights[row + n];
            shares[at + n] += weight;
            for (let head = 0; head < sums.length; head++) sums[head][at + n] += Math.fround(mean[head][row + n] * weight);
          }
        }
        tick(++done / total);
      }
  for (const array of sums) for (let n = 0; n < array.length; n++) array[n] /= shares[n];
  const logits = sums.map((array) => cropped(array, padded, inner));
  if (!logits.every((array) => array.every(Number.isFinite))) throw new ImageProblem("The network's output is not finite. Check the image's intensities.");
  return logits;
}

async function meanOf(networks, tile, patch, flat, copies) {
  const size = sizeOf(patch);
  let total = null;
  for (const network of networks)
    for (const axes of copies) {
      const flips = [0, 1, 2].map((axis) => axes.includes(axis));
      const input = new Float32Array(tile.length * size);
      tile.forEach((array, n) => input.set(flipped(array, patch, flips), n * size));
      const tensor = new ort.Tensor("float32", input, [1, tile.length, ...(flat ? patch.slice(1) : patch)]);
      const output = (await network.run({ [network.inputNames[0]]: tensor }))[network.outputNames[0]];
      const heads = output.dims[1];
      total ??= Array.from({ length: heads }, () => new Float32Array(size));
      for (let head = 0; head < heads; head++) {
        const back = flipped(output.data.subarray(head * size, (head + 1) * size), patch, flips);
        for (let n = 0; n < size; n++) total[head][n] += back[n];
      }
    }
  const count = networks.length * copies.length;
  for (const array of total) for (let n = 0; n < size; n++) array[n] /= count;
  return total;
}

// ---- The way back ----

function nearestAxes(case_, member) {
  const { resampling, spacing: steps } = member.preprocessing;
  const rule = resampling.resampling_fn_probabilities_kwargs;
  const current = steps.length < 3 ? [case_.spacing[0], ...steps] : steps;
  const separate = separateAxis(current, case_.spacing, rule.force_separate_z ?? undefined);
  return [0, 1, 2].map((axis) => (axis === separate ? rule.order_z ?? 0 : rule.order ?? 1) === 0);
}

const restored = (array, case_, member) => restoredChannel(array, case_.shape, case_.inner, nearestAxes(case_, member));

function toProbabilities(logits, regions) {
  const size = logits[0].length;
  if (regions) return logits.map((array) => array.map((value) => 1 / (1 + Math.exp(-value))));
  const found = logits.map(() => new Float32Array(size));
  for (let n = 0; n < size; n++) {
    let most = -Infinity, sum = 0;
    for (const array of logits) if (array[n] > most) most = array[n];
    for (let head = 0; head < logits.length; head++) sum += found[head][n] = Math.exp(logits[head][n] - most);
    for (const array of found) array[n] /= sum;
  }
  return found;
}

// The label of the largest value; of regions, each where it is above the threshold, one over the other.
function decided(channel, heads, labels, threshold, size) {
  const result = new Uint16Array(size), regions = labels.region_order;
  let best = null;
  for (let head = 0; head < heads; head++) {
    const values = channel(head);
    if (regions) {
      for (let n = 0; n < size; n++) if (values[n] > threshold) result[n] = regions[head];
    } else if (!best) best = values.slice();
    else
      for (let n = 0; n < size; n++)
        if (values[n] > best[n]) {
          best[n] = values[n];
          result[n] = head;
        }
  }
  return result;
}

const hasRegions = (labels) => Object.values(labels.names).some(Array.isArray);

async function networkLabels(image, model, sessions, options, tick) {
  const regions = hasRegions(model.labels), labels = { region_order: regions ? model.labels.region_order : null };
  const parts = model.members.map((member) => (member.mean_of === "probabilities" ? member.networks.length : 1));
  const all = parts.reduce((sum, count) => sum + count, 0);
  let done = 0, total = null;
  const run = (networks, case_, member) => {
    const base = done++;
    return slidingWindow(networks, case_.data, case_.shape, member.window, options.mirroring, (share) => tick((base + share) / all));
  };
  for (const [number, member] of model.members.entries()) {
    const case_ = preprocessed(image, member);
    const networks = sessions[number];
    const single = model.members.length === 1;
    let found = null;
    if (member.mean_of === "logits") found = await run(networks, case_, member);
    if (single && found) return pasted(decided((head) => restored(found[head], case_, member), found.length, labels, 0, sizeOf(case_.inner)), case_, member);
    let mean = found && toProbabilities(found, regions);
    if (!found) {
      for (const network of networks) {
        const part = toProbabilities(await run([network], case_, member), regions);
        if (!mean) mean = part;
        else mean.forEach((array, head) => { for (let n = 0; n < array.length; n++) array[n] += part[head][n]; });
      }
      for (const array of mean) for (let n = 0; n < array.length; n++) array[n] /= networks.length;
    }
    if (single) return pasted(decided((head) => restored(mean[head], case_, member), mean.length, labels, 0.5, sizeOf(case_.inner)), case_, member);
    total ??= mean.map(() => new Float32Array(image.channels[0].length));
    mean.forEach((array, head) => {
      const full = new Float32Array(sizeOf(case_.before));
      pasteInto(full, case_.before, restored(array, case_, member), case_.box);
      const back = transposed(full, case_.before, inverse(member.preprocessing.transpose)).array;
      for (let n = 0; n < back.length; n++) total[head][n] += back[n] / model.members.length;
    });
  }
  return decided((head) => total[head], total.length, labels, 0.5, total[0].length);
}

const inverse = (axes) => axes.map((_, axis) => axes.indexOf(axis));

function pasted(part, case_, member) {
  const full = pasteInto(new Uint16Array(sizeOf(case_.before)), case_.before, part, case_.box);
  return transposed(full, case_.before, inverse(member.preprocessing.transpose)).array;
}

// ---- Postprocessing ----

function postprocess(labels, shape, spacing, rules) {
  const voxel = rules.unit === "ml" ? sizeOf(spacing) / 1000 : 1;
  for (const rule of rules.rules) {
    const all = labels.map((value) => (rule.values.includes(value) ? 1 : 0));
    if (!all.some(Boolean)) continue;
    const box = boxOf(all, shape), inner = shapeOfBox(box);
    const mask = Uint8Array.from(cropped(all, shape, box)), part = cropped(labels, shape, box);
    let kept = mask;
    if (rule.largest || rule.smallest !== null) {
      const { marks, sizes } = componentsOf(mask, inner), largest = Math.max(...sizes);
      const stays = sizes.map((size, number) => number > 0 && size > 0 && (!rule.largest || size === largest) &&
        (rule.smallest === null || size * voxel >= rule.smallest * (1 - 1e-9)));
      kept = mask.map((value, n) => (value && stays[marks[n]] ? 1 : 0));
    }
    for (let n = 0; n < part.length; n++) if (mask[n] && !kept[n]) part[n] = rule.outside;
    if (rule.fill && !kept.every(Boolean)) {
      const reached = reachedFromBorder(kept, inner, true);
      for (let n = 0; n < part.length; n++) if (!kept[n] && !reached[n] && part[n] === rule.outside) part[n] = rule.inside;
    }
    pasteInto(labels, shape, part, box);
  }
  return labels;
}

// Labels (z, y, x) of an image on its own grid.
async function segmentImage(image, model, sessions, options, tick) {
  if (image.channels.length !== model.channels.length)
    throw new ImageProblem(`The image has ${image.channels.length} channels; the model takes ${model.channels.length}: ${model.channels.join(", ")}.`);
  const turn = turnOf(image, model);
  let taken = image;
  if (turn) {
    const moved = image.channels.map((array) => turnedArray(array, image.shape, turn));
    taken = { ...image, channels: moved.map((each) => each.array), shape: moved[0].shape, spacing: turn.axes.map((axis) => image.spacing[axis]) };
  }
  let labels = await networkLabels(taken, model, sessions, options, tick);
  if (model.postprocessing) labels = postprocess(labels, taken.shape, taken.spacing, model.postprocessing);
  return turn ? turnedArray(labels, taken.shape, turn.back).array : labels;
}
