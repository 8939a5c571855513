// Three planes on canvases, with nothing but the browser. Axes of the array lead to the patient's right, front and
// top; each plane is shown as radiologists look at it: the patient's right on the left, front and top above.

import { PLANES } from "./drawing.js";

const NAMES = { 2: "Axial", 1: "Coronal", 0: "Sagittal" };
const LETTERS = { 2: ["R", "L", "A", "P"], 1: ["R", "L", "S", "I"], 0: ["A", "P", "S", "I"] };
const FILL = 0.38;

const rgb = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

export class PlainView {
  // `state` is the page's: case, volume, drawing, layers, at, tool, value, size, window, zoom.
  constructor(host, state, events) {
    this.state = state;
    this.events = events;
    this.still = 2;
    this.planes = [2, 1, 0].map((still) => this.plane(host, still));
    this.watch = new ResizeObserver(() => this.draw());
    this.watch.observe(host);
  }

  plane(host, still) {
    const figure = document.createElement("figure");
    figure.className = `plane plane${still}`;
    const canvas = document.createElement("canvas");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-roledescription", "slice");
    const caption = document.createElement("figcaption");
    figure.append(canvas, caption);
    host.append(figure);
    const plane = { still, figure, canvas, caption, last: null };
    canvas.addEventListener("focus", () => this.activate(still));
    canvas.addEventListener("pointerdown", (event) => this.down(plane, event));
    canvas.addEventListener("pointermove", (event) => this.move(plane, event));
    canvas.addEventListener("pointerup", () => this.up(plane));
    canvas.addEventListener("pointercancel", () => this.up(plane));
    canvas.addEventListener("wheel", (event) => this.wheel(plane, event), { passive: false });
    return plane;
  }

  activate(still) {
    this.still = still;
    for (const plane of this.planes) plane.figure.classList.toggle("active", plane.still === still);
    this.events.activated(still);
  }

  focus() {
    this.planes.find((plane) => plane.still === this.still).canvas.focus();
  }

  show() {
    const flat = this.state.details.shape[2] === 1;
    for (const plane of this.planes) plane.figure.hidden = flat && plane.still !== 2;
    if (flat) this.activate(2);
    this.draw();
  }

  close() {
    this.watch.disconnect();
    for (const plane of this.planes) plane.figure.remove();
  }

  // Where a plane lies on its canvas: voxels of both axes, millimetres, and pixels.
  box(plane) {
    const { details, at, zoom } = this.state;
    const [a, b] = PLANES[plane.still];
    const [width, height] = [plane.canvas.width, plane.canvas.height];
    const size = [details.shape[a] * details.spacing[a], details.shape[b] * details.spacing[b]];
    const scale = Math.min(width / size[0], height / size[1]) * zoom;
    const step = [details.spacing[a] * scale, details.spacing[b] * scale];
    const start = [width, height].map((room, axis) => {
      const count = details.shape[[a, b][axis]];
      const whole = count * step[axis];
      if (whole <= room) return (room - whole) / 2;
      const middle = (count - at[[a, b][axis]] - 0.5) * step[axis];
      return Math.min(0, Math.max(room - whole, room / 2 - middle));
    });
    return { a, b, step, start };
  }

  voxel(plane, event) {
    const { details, at } = this.state;
    const { a, b, step, start } = this.box(plane);
    const frame = plane.canvas.getBoundingClientRect();
    const ratio = plane.canvas.width / frame.width;
    const place = [...at];
    const x = Math.floor(((event.clientX - frame.left) * ratio - start[0]) / step[0]);
    const y = Math.floor(((event.clientY - frame.top) * ratio - start[1]) / step[1]);
    place[a] = Math.min(details.shape[a] - 1, Math.max(0, details.shape[a] - 1 - x));
    place[b] = Math.min(details.shape[b] - 1, Math.max(0, details.shape[b] - 1 - y));
    return place;
  }

  down(plane, event) {
    if (!this.state.details || event.button > 0) return;
    plane.canvas.focus();
    plane.canvas.setPointerCapture(event.pointerId);
    plane.last = this.voxel(plane, event);
    if (this.state.painting) this.state.drawing.begin();
    this.move(plane, event);
  }

  move(plane, event) {
    if (plane.last === null) return;
    const place = this.voxel(plane, event);
    const { drawing, painting, size, paint } = this.state;
    if (painting) drawing.line(plane.last, place, plane.still, size, paint);
    plane.last = place;
    this.events.moved(place);
  }

  up(plane) {
    if (plane.last === null) return;
    plane.last = null;
    if (this.state.painting) this.state.drawing.end();
  }

  wheel(plane, event) {
    if (!this.state.details) return;
    event.preventDefault();
    this.activate(plane.still);
    this.events.stepped(plane.still, event.deltaY > 0 ? -1 : 1);
  }

  draw() {
    if (!this.state.details || this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (this.state.details) for (const plane of this.planes) if (!plane.figure.hidden) this.drawPlane(plane);
    });
  }

  drawPlane(plane) {
    const { canvas, still } = plane;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio].map(Math.round);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    const box = this.box(plane);
    this.drawImage(context, still, box);
    this.drawOutlines(context, still, box);
    this.drawCross(context, box, ratio);
    this.drawLetters(context, still, ratio);
    this.describe(plane);
  }

  // Calls `visit(column, row, index)` for the voxels of a slice, in the order of the screen.
  each(still, visit) {
    const { details, at, drawing } = this.state;
    const [a, b] = PLANES[still];
    const [stepA, stepB] = [drawing.steps[a], drawing.steps[b]];
    const [countA, countB] = [details.shape[a], details.shape[b]];
    const base = at[still] * drawing.steps[still];
    for (let row = 0; row < countB; row++) {
      let index = base + (countB - 1 - row) * stepB + (countA - 1) * stepA;
      for (let column = 0; column < countA; column++, index -= stepA) visit(column, row, index);
    }
  }

  drawImage(context, still, { a, b, step, start }) {
    const { details, volume, window: [low, high], drawing, layers, colours } = this.state;
    const [width, height] = [details.shape[a], details.shape[b]];
    const pixels = new ImageData(width, height);
    const scale = 255 / (high - low);
    const [slope, intercept] = [volume.slope * scale, (volume.intercept - low) * scale];
    this.each(still, (column, row, index) => {
      const to = 4 * (row * width + column);
      for (let part = 0; part < 3; part++) {
        pixels.data[to + part] = volume.coloured
          ? volume.values[3 * index + part]
          : volume.values[index] * slope + intercept;
      }
      const colour = layers.drawing.shown && colours[drawing.values[index]];
      if (colour) {
        for (let part = 0; part < 3; part++) {
          pixels.data[to + part] = (1 - FILL) * pixels.data[to + part] + FILL * colour[part];
        }
      }
      pixels.data[to + 3] = 255;
    });
    const picture = new OffscreenCanvas(width, height);
    picture.getContext("2d").putImageData(pixels, 0, 0);
    context.imageSmoothingEnabled = step[0] < 4;
    context.drawImage(picture, start[0], start[1], width * step[0], height * step[1]);
  }

  // Lines between voxels of different labels: whole for the prediction, dotted for the reference.
  drawOutlines(context, still, { a, b, step, start }) {
    const { layers, details, hues } = this.state;
    const width = details.shape[a];
    const ratio = window.devicePixelRatio || 1;
    for (const name of ["drawing", "prediction", "reference"]) {
      const layer = layers[name];
      if (!layer.shown || !layer.values) continue;
      const slice = new Uint8Array(width * details.shape[b]);
      this.each(still, (column, row, index) => { slice[row * width + column] = layer.values[index]; });
      const paths = outlines(slice, width, details.shape[b], step, start);
      context.setLineDash(name === "reference" ? [2 * ratio, 3 * ratio] : name === "prediction" ? [6 * ratio, 3 * ratio] : []);
      context.lineWidth = (name === "drawing" ? 1 : 1.8) * ratio;
      for (const [value, path] of paths) {
        context.strokeStyle = name === "reference" ? "#fff" : hues[value] || "#fff";
        context.stroke(path);
      }
    }
    context.setLineDash([]);
  }

  drawCross(context, { a, b, step, start }, ratio) {
    const { at, details, painting, size } = this.state;
    const [x, y] = [a, b].map((axis, side) => start[side] + (details.shape[axis] - at[axis] - 0.5) * step[side]);
    context.lineWidth = ratio;
    context.strokeStyle = "rgba(255, 255, 255, .75)";
    const gap = Math.max(6 * ratio, step[0]);
    for (const [fx, fy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.beginPath();
      context.moveTo(x + fx * gap, y + fy * gap);
      context.lineTo(x + fx * 9999, y + fy * 9999);
      context.stroke();
    }
    if (painting) {
      context.beginPath();
      context.ellipse(x, y, (size / 2) * step[0], (size / 2) * step[1], 0, 0, 7);
      context.stroke();
    }
  }

  drawLetters(context, still, ratio) {
    if (!this.state.details.placed) return;
    const { width, height } = context.canvas;
    const [left, right, top, bottom] = LETTERS[still];
    context.font = `600 ${13 * ratio}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const far = 11 * ratio;
    for (const [letter, x, y] of [[left, far, height / 2], [right, width - far, height / 2], [top, width / 2, far], [bottom, width / 2, height - far]]) {
      context.strokeStyle = "#000";
      context.lineWidth = 3 * ratio;
      context.strokeText(letter, x, y);
      context.fillStyle = "#fff";
      context.fillText(letter, x, y);
    }
  }

  describe(plane) {
    const { details, at } = this.state;
    const name = details.placed ? NAMES[plane.still] : details.shape[2] === 1 ? "Picture" : `Along ${"xyz"[plane.still]}`;
    const many = details.shape[plane.still] > 1;
    plane.caption.textContent = many ? `${name}, slice ${at[plane.still] + 1} of ${details.shape[plane.still]}` : name;
    plane.canvas.setAttribute("aria-label", `${plane.caption.textContent} of ${details.case}`);
  }
}

// For each label a path around its pixels.
function outlines(slice, width, height, step, start) {
  const paths = new Map();
  const segment = (value, x, y, dx, dy) => {
    if (!value) return;
    if (!paths.has(value)) paths.set(value, new Path2D());
    const path = paths.get(value);
    path.moveTo(start[0] + x * step[0], start[1] + y * step[1]);
    path.lineTo(start[0] + (x + dx) * step[0], start[1] + (y + dy) * step[1]);
  };
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const own = slice[row * width + column];
      const left = column ? slice[row * width + column - 1] : 0;
      const above = row ? slice[(row - 1) * width + column] : 0;
      if (own !== left) {
        segment(own || left, column, row, 0, 1);
      }
      if (own !== above) {
        segment(own || above, column, row, 1, 0);
      }
      if (own && column === width - 1) segment(own, width, row, 0, 1);
      if (own && row === height - 1) segment(own, column, height, 1, 0);
    }
  }
  return paths;
}

export const colourTable = (labels) => {
  const table = [];
  for (const label of labels) if (label.colour) table[label.value] = rgb(label.colour);
  return table;
};
