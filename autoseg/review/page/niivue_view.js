// NiiVue's view: the same three planes and a 3D rendering. It paints into its own copy, which is taken over after
// each stroke; the page's drawing stays the only one that counts.

import { shell } from "./drawing.js";

const HEADER = 352;
const AXES = [2, 1, 0]; // NiiVue's axial, coronal, sagittal: the axis that stands still

const script = () =>
  new Promise((done, failed) => {
    if (window.niivue) return done();
    const element = document.createElement("script");
    element.src = "/niivue.js";
    element.onload = done;
    element.onerror = () => failed(new Error("NiiVue could not be loaded."));
    document.head.append(element);
  });

export class NiivueView {
  static async open(host, state, events) {
    await script();
    const view = new NiivueView(host, state, events);
    await view.attach();
    return view;
  }

  constructor(host, state, events) {
    this.state = state;
    this.events = events;
    this.still = 2;
    this.figure = document.createElement("figure");
    this.figure.className = "plane niivue active";
    this.canvas = document.createElement("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-roledescription", "three planes and a 3D view");
    this.caption = document.createElement("figcaption");
    const room = document.createElement("div");
    room.className = "room";
    room.append(this.canvas);
    this.figure.append(room, this.caption);
    host.append(this.figure);
  }

  async attach() {
    this.viewer = new window.niivue.Niivue({
      logLevel: "error",
      dragAndDropEnabled: false,
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      show3Dcrosshair: true,
      isNearestInterpolation: true,
      multiplanarShowRender: 1,
      multiplanarLayout: 2, // a grid, whatever the shape of the volume
      crosshairWidth: 0.12,
      crosshairColor: [1, 1, 1, 0.75],
      backColor: [0, 0, 0, 1],
      viewModeHotKey: "",
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
      loadingText: "",
    });
    await this.viewer.attachToCanvas(this.canvas);
    if (!this.viewer.gl) throw new Error("This browser has no WebGL 2, which NiiVue needs.");
    this.viewer.onLocationChange = (found) => this.located(found);
    this.viewer.onDrawingChanged = (action) => {
      if (action !== "draw" || !this.state.drawing || this.loading) return;
      // A pen may have gone where nothing is to be painted.
      const taken = this.state.drawing.takeOver(this.viewer.drawBitmap);
      if (taken) this.shown();
    };
    this.canvas.addEventListener("pointerdown", () => this.canvas.focus());
  }

  activate(still) {
    this.still = still;
    this.events.activated(still);
  }

  focus() {
    this.canvas.focus();
  }

  async show() {
    const { details, labels, buffers } = this.state;
    this.loading = true;
    const map = { R: [], G: [], B: [], A: [], I: [], labels: [] };
    for (const { value, name, colour } of labels) {
      const parts = value && colour ? [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)) : [0, 0, 0];
      map.R.push(parts[0]); map.G.push(parts[1]); map.B.push(parts[2]);
      map.A.push(value ? 255 : 0); map.I.push(value); map.labels.push(name);
    }
    while (this.viewer.volumes.length) this.viewer.removeVolume(this.viewer.volumes[0]);
    await this.viewer.loadFromArrayBuffer(buffers.image.slice(0), "image.nii");
    for (const name of ["prediction", "reference"]) {
      if (!buffers[name]) continue;
      // NiiVue fills labels; an outline is a label of its outermost voxels.
      const outline = buffers[name].slice(0);
      new Uint8Array(outline).set(shell(details.shape, this.state.layers[name].values), HEADER);
      await this.viewer.loadFromArrayBuffer(outline, `${name}.nii`);
      const volume = this.viewer.volumes.at(-1);
      const layer = name === "reference" ? { ...map, ...white(map) } : map;
      volume.setColormapLabel(layer);
    }
    this.viewer.drawLut = null;
    this.viewer.setDrawColormap({ ...map, min: 0, max: 255 });
    this.viewer.setDrawOpacity(0.45);
    const flat = details.shape[2] === 1;
    this.viewer.setSliceType(flat ? 0 : 3);
    this.loading = false;
    this.windowed();
    this.draw();
  }

  // The page's drawing, its layers and its place, as they are now.
  draw() {
    const { drawing, at, painting, paint, size, layers } = this.state;
    const viewer = this.viewer;
    if (!drawing || !viewer.volumes.length || this.loading) return;
    viewer.opts.penSize = size;
    viewer.opts.penValue = paint;
    if (!viewer.drawBitmap || viewer.drawBitmap.length !== drawing.values.length) viewer.createEmptyDrawing();
    viewer.opts.drawingEnabled = true;
    viewer.drawBitmap.set(layers.drawing.shown ? drawing.values : new Uint8Array(drawing.values.length));
    viewer.refreshDrawing(false);
    viewer.opts.drawingEnabled = painting && layers.drawing.shown;
    for (const [index, volume] of viewer.volumes.entries()) {
      const name = volume.name.replace(".nii", "");
      if (index && volume.opacity !== (layers[name].shown ? 1 : 0)) viewer.setOpacity(index, layers[name].shown ? 1 : 0);
    }
    viewer.scene.crosshairPos = viewer.vox2frac(at);
    viewer.drawScene();
    this.shown();
  }

  windowed() {
    const [volume, [low, high]] = [this.viewer.volumes[0], this.state.window];
    if (!volume || this.state.volume.coloured) return;
    [volume.cal_min, volume.cal_max] = [low, high];
    this.viewer.updateGLVolume();
  }

  located(found) {
    const { details } = this.state;
    if (this.loading || !details || !found.vox) return;
    const place = found.vox.slice(0, 3).map((value, axis) => Math.min(details.shape[axis] - 1, Math.max(0, Math.round(value))));
    if (found.axCorSag >= 0 && found.axCorSag < 3) this.activate(AXES[found.axCorSag]);
    this.events.moved(place, true);
    this.shown();
  }

  shown() {
    const { details } = this.state;
    this.caption.textContent = details.shape[2] > 1 ? "Three planes and a 3D view: drag it to turn it" : "";
    this.canvas.setAttribute("aria-label", `${details.case}: three planes and a 3D view`);
  }

  close() {
    this.viewer.cleanup?.();
    this.viewer.gl?.getExtension("WEBGL_lose_context")?.loseContext();
    this.figure.remove();
  }
}

const white = (map) => {
  const all = map.I.map((value) => (value ? 255 : 0));
  return { R: all, G: all, B: all };
};
