// The label that is being corrected: a byte for each voxel, x fastest, with a way back.

const MOST_UNDONE = 60;

// The two axes of a plane, by the axis that stands still.
export const PLANES = { 2: [0, 1], 1: [0, 2], 0: [1, 2] };

export class Drawing {
  // `values` is changed in place; `original` is what the drawing began from; `ignored` is the label of what nobody
  // has judged, null for none: no prediction has it, so that it is no difference, and it is not taken away by one.
  constructor(shape, values, original, ignored = null) {
    this.shape = shape;
    this.values = values;
    this.original = original;
    this.steps = [1, shape[0], shape[0] * shape[1]];
    this.ignored = ignored;
    this.undone = [];
    this.stroke = null;
    this.changed = () => {};
  }

  index(at) {
    return at[0] + at[1] * this.steps[1] + at[2] * this.steps[2];
  }

  get differs() {
    return this.values.some((value, index) => value !== this.original[index]);
  }

  // All that is painted between begin and end is taken back in one step.
  begin() {
    if (this.stroke === null) this.stroke = new Map();
  }

  end() {
    const stroke = this.stroke;
    this.stroke = null;
    if (!stroke || stroke.size === 0) return 0;
    this.undone.push(stroke);
    if (this.undone.length > MOST_UNDONE) this.undone.shift();
    this.changed();
    return stroke.size;
  }

  set(index, value) {
    const before = this.values[index];
    if (before === value) return;
    if (!this.stroke.has(index)) this.stroke.set(index, before);
    this.values[index] = value;
  }

  undo() {
    const stroke = this.undone.pop();
    if (!stroke) return 0;
    for (const [index, value] of stroke) this.values[index] = value;
    this.changed();
    return stroke.size;
  }

  // A disc of `size` voxels across, in the plane that axis `still` is normal to.
  disc(at, still, size, value) {
    const [a, b] = PLANES[still];
    const radius = size / 2;
    const reach = Math.floor(radius);
    const centre = size % 2 ? 0 : 0.5;
    for (let da = -reach; da <= reach; da++) {
      for (let db = -reach; db <= reach; db++) {
        if ((da + centre) ** 2 + (db + centre) ** 2 > radius ** 2 && size > 1) continue;
        const [pa, pb] = [at[a] + da, at[b] + db];
        if (pa < 0 || pb < 0 || pa >= this.shape[a] || pb >= this.shape[b]) continue;
        const place = [...at];
        [place[a], place[b]] = [pa, pb];
        this.set(this.index(place), value);
      }
    }
  }

  line(from, to, still, size, value) {
    const far = Math.max(...[0, 1, 2].map((axis) => Math.abs(to[axis] - from[axis])), 1);
    for (let step = 0; step <= far; step++) {
      const at = [0, 1, 2].map((axis) => Math.round(from[axis] + ((to[axis] - from[axis]) * step) / far));
      this.disc(at, still, size, value);
    }
  }

  // What another label has in one slice.
  takeSlice(other, at, still) {
    const [a, b] = PLANES[still];
    const place = [...at];
    this.begin();
    for (place[a] = 0; place[a] < this.shape[a]; place[a]++) {
      for (place[b] = 0; place[b] < this.shape[b]; place[b]++) {
        const index = this.index(place);
        if (this.parts(other, index)) this.set(index, other[index]);
      }
    }
    return this.end();
  }

  // What another label has in the connected region of difference around a voxel, or next to it.
  takeRegion(other, at) {
    const start = this.near(at).find((index) => this.parts(other, index));
    if (start === undefined) return 0;
    this.begin();
    const waiting = [start];
    const seen = new Set(waiting);
    while (waiting.length) {
      const index = waiting.pop();
      this.set(index, other[index]);
      for (const next of this.neighbours(index)) {
        if (!seen.has(next) && this.parts(other, next)) {
          seen.add(next);
          waiting.push(next);
        }
      }
    }
    return this.end();
  }

  // The voxel where it differs most from another label, else where most is labelled, else the middle.
  busiest(other) {
    const { shape, steps, values } = this;
    for (const there of [(i) => other && this.parts(other, i), (i) => values[i] > 0 && values[i] !== this.ignored]) {
      const counts = shape.map((count) => new Uint32Array(count));
      let any = false;
      for (let index = 0; index < values.length; index++) {
        if (!there(index)) continue;
        any = true;
        counts[0][index % shape[0]]++;
        counts[1][Math.floor(index / steps[1]) % shape[1]]++;
        counts[2][Math.floor(index / steps[2])]++;
      }
      if (any) return counts.map((each) => each.reduce((best, count, at) => (count > each[best] ? at : best), 0));
    }
    return shape.map((count) => Math.floor(count / 2));
  }

  // Whether another label says something else of a voxel that somebody has judged.
  parts(other, index) {
    return this.values[index] !== other[index] && this.values[index] !== this.ignored;
  }

  // The voxel itself first, then those around it.
  near(at) {
    const own = this.index(at);
    return [own, ...this.neighbours(own)];
  }

  neighbours(index) {
    const place = [
      index % this.shape[0],
      Math.floor(index / this.steps[1]) % this.shape[1],
      Math.floor(index / this.steps[2]),
    ];
    const found = [];
    for (const axis of [0, 1, 2]) {
      if (place[axis] > 0) found.push(index - this.steps[axis]);
      if (place[axis] < this.shape[axis] - 1) found.push(index + this.steps[axis]);
    }
    return found;
  }

  // What another program has painted into a copy.
  takeOver(values) {
    this.begin();
    for (let index = 0; index < values.length; index++) this.set(index, values[index]);
    return this.end();
  }
}

// Of a label only the voxels that lie beside another one.
export function shell(shape, values) {
  const steps = [1, shape[0], shape[0] * shape[1]];
  const found = new Uint8Array(values.length);
  for (let z = 0, index = 0; z < shape[2]; z++) {
    for (let y = 0; y < shape[1]; y++) {
      for (let x = 0; x < shape[0]; x++, index++) {
        const own = values[index];
        if (!own) continue;
        const within = x > 0 && y > 0 && x < shape[0] - 1 && y < shape[1] - 1
          && [1, steps[1]].every((step) => values[index - step] === own && values[index + step] === own)
          && (shape[2] === 1 || (z > 0 && z < shape[2] - 1
            && values[index - steps[2]] === own && values[index + steps[2]] === own));
        if (!within) found[index] = own;
      }
    }
  }
  return found;
}
