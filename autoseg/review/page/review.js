// The page: which case is open, what is drawn on it, and what of it is stored.

import { Drawing, PLANES } from "./drawing.js";
import { listen } from "./keys.js";
import { NiivueView } from "./niivue_view.js";
import { PlainView, colourTable } from "./plain_view.js";
import { listCases as list, listKeys, listLabels, placeInWords, summary, switchTheme } from "./furniture.js";
import * as server from "./server.js";
import { Volume } from "./volume.js";

const byId = (id) => document.getElementById(id);
const DRAFT_AFTER_MS = 700;
const ALIVE_EVERY_MS = 60000;

const state = {
  review: null, index: -1, details: null, volume: null, drawing: null, buffers: {},
  layers: { drawing: { shown: true }, prediction: { shown: true }, reference: { shown: true } },
  labels: [], colours: [], hues: [], at: [0, 0, 0], tool: "look", value: 1, size: 3, zoom: 1, window: [0, 1],
  get painting() { return this.tool !== "look" && !this.details.problem; },
  get paint() { return this.tool === "eraser" ? 0 : this.value; },
};
let view = null;
let opening = 0;
let waiting = null;
// Requests that store something follow each other, so that none overtakes another.
let line = Promise.resolve();

const events = {
  moved: (at, own = false) => { state.at = at; if (!own) view.draw(); tellPlace(); },
  stepped: (still, by) => step(still, by),
  activated: () => {},
};

function tell(text) { byId("saved").textContent = text; }

function alarm(problem) {
  byId("alert").hidden = !problem;
  byId("alert").textContent = problem ? problem.message : "";
}

// Runs what talks to the server; an error is shown and the drawing stays.
async function safely(action) {
  try {
    const found = await action();
    alarm(null);
    return found;
  } catch (problem) {
    alarm(problem);
    return null;
  }
}

function store(action) {
  const next = line.then(() => safely(action));
  line = next;
  return next;
}

// Cases.

const listCases = () => list(state.review.cases, state.index, open);

function renew(index, found) {
  if (!found) return;
  state.review.cases[index] = found;
  if (index === state.index) {
    Object.assign(state.details, found);
    showDecision();
  }
  listCases();
}

async function open(index) {
  if (index < 0 || index >= state.review.cases.length) return;
  await keepDraft();
  const turn = ++opening;
  tell("");
  byId("case").textContent = `Loading ${state.review.cases[index].case}`;
  const found = await safely(async () => {
    const details = await server.details(index);
    const names = ["drawing", ...details.layers];
    const [image, ...layers] = await Promise.all(
      ["image/0", ...names].map((what) => server.bytes(index, what)));
    return { details, image, layers: Object.fromEntries(names.map((name, at) => [name, layers[at]])) };
  });
  if (turn !== opening) return;
  state.index = index;
  if (found) await take(found);
  else byId("case").textContent = `${state.review.cases[index].case} cannot be shown`;
  listCases();
  document.querySelector("#cases [aria-current]")?.scrollIntoView({ block: "nearest" });
}

async function take({ details, image, layers }) {
  const fromBuffer = (name) => (layers[name] ? new Volume(layers[name]).values : null);
  state.details = details;
  state.volume = new Volume(image);
  state.buffers = { ...layers, image };
  const judged = state.review.kind === "labels" ? "reference" : "prediction";
  const values = fromBuffer("drawing").slice();
  for (const name of ["prediction", "reference"]) state.layers[name].values = fromBuffer(name);
  const original = state.layers[judged].values || new Uint8Array(values.length);
  state.drawing = new Drawing(details.shape, values, original, state.review.ignore);
  state.layers.drawing.values = values;
  // A drawing that was kept but never saved is still to be saved, by accept too.
  state.drawing.saved = details.draft ? null : values.slice();
  state.drawing.changed = changed;
  state.at = state.drawing.busiest(state.layers.prediction.values);
  state.zoom = 1;
  state.window = details.windows[0];
  showCase();
  await view.show();
  tellPlace();
  if (details.draft) tell("The drawing that was not saved is here again.");
}

function showCase() {
  const { details } = state;
  byId("case").textContent = details.case;
  document.title = `${details.case}: review`;
  byId("why").textContent = [summary(details), ...details.reasons].filter(Boolean).join(". ");
  byId("problem").hidden = !details.problem;
  byId("problem").textContent = details.problem ? `It cannot be drawn on: ${details.problem}` : "";
  for (const name of ["takeSlice", "takeRegion"]) {
    act.button(name).disabled = Boolean(details.problem) || !state.layers.prediction.values;
  }
  for (const button of document.querySelectorAll("[data-tool]")) button.disabled = Boolean(details.problem);
  for (const box of document.querySelectorAll("[data-layer]")) {
    box.disabled = !state.layers[box.dataset.layer].values;
  }
  byId("channelLine").hidden = details.channels.length < 2;
  byId("channel").replaceChildren(...details.channels.map((name, index) => new Option(name, index)));
  for (const name of ["low", "high"]) byId(name).disabled = details.colours;
  byId("unit").textContent = details.shape[2] > 1 ? "voxels" : "pixels";
  byId("low").value = 0;
  byId("high").value = 1000;
  byId("comment").value = details.comment;
  showDecision();
}

function showDecision() {
  const { decision, corrected } = state.details;
  act.button("accept").setAttribute("aria-pressed", decision === "accepted");
  act.button("reject").setAttribute("aria-pressed", decision === "rejected");
  act.button("save").disabled = Boolean(state.details.problem) || !unsaved();
  act.button("undo").disabled = state.drawing.undone.length === 0;
  act.button("withdraw").disabled = !corrected && !state.drawing.differs;
}

function tellPlace() {
  byId("here").textContent = placeInWords(state);
}

// Drawing.

function unsaved() {
  const { values, saved } = state.drawing;
  return saved === null || values.some((value, index) => value !== saved[index]);
}

function changed() {
  view.draw();
  tellPlace();
  showDecision();
  tell("Not saved yet");
  clearTimeout(waiting);
  waiting = setTimeout(keepDraft, DRAFT_AFTER_MS);
}

// What is drawn is stored as it comes, so that the end of the server or the page loses nothing.
async function keepDraft() {
  if (waiting === null) return;
  clearTimeout(waiting);
  waiting = null;
  const { index, drawing } = state;
  const values = drawing.values.slice();
  await store(async () => {
    renew(index, await server.draft(index, values, reviewer()));
    if (state.drawing === drawing) tell("The drawing is kept, and becomes a correction when it is saved.");
  });
}

async function save() {
  if (state.details.problem || !unsaved()) return true;
  clearTimeout(waiting);
  waiting = null;
  const { index, drawing } = state;
  const values = drawing.values.slice();
  const done = await store(async () => {
    const found = await server.save(index, values, reviewer());
    drawing.saved = values;
    renew(index, found);
    tell("Saved as a new file. The original is as it was.");
    return true;
  });
  return done === true;
}

const reviewer = () => byId("reviewer").value.trim();

async function decide(action, comment = null) {
  const { index } = state;
  return store(async () => { renew(index, await server.decide(index, action, reviewer(), comment)); return true; });
}

async function settle(action, words) {
  if (!state.details) return;
  const again = state.details.decision === words;
  if (action === "accept" && !again && !(await save())) return;
  if (await decide(again ? "undecide" : action)) tell(again ? "Undecided again." : `${state.details.case}: ${words}.`);
}

function step(axis, by) {
  const at = [...state.at];
  at[axis] = Math.min(state.details.shape[axis] - 1, Math.max(0, at[axis] + by));
  events.moved(at);
}

function tool(name) {
  if (state.details?.problem) return;
  state.tool = name;
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", button.dataset.tool === name);
  }
  view.draw();
}

function resize(size) {
  state.size = Math.min(40, Math.max(1, size));
  byId("size").value = state.size;
  byId("sizeOut").textContent = state.size;
  if (state.details) view.draw();
}

function taken(count) {
  if (!count) tell("Label and prediction do not differ here.");
}

function label(number) {
  const choice = document.querySelectorAll("#labels input")[number - 1];
  if (!choice) return;
  choice.checked = true;
  state.value = Number(choice.value);
  if (state.tool === "eraser") tool("pen");
  else view.draw();
}

const act = {
  button: (name) => document.querySelector(`[data-act="${name}"]`),
  next: () => (state.index + 1 < state.review.cases.length ? open(state.index + 1) : tell("This is the last case.")),
  previous: () => (state.index > 0 ? open(state.index - 1) : tell("This is the first case.")),
  undecided: () => {
    const { cases } = state.review;
    const order = cases.map((_, at) => (state.index + 1 + at) % cases.length);
    const found = order.find((at) => !cases[at].decision);
    if (found === undefined) tell("Every case is decided.");
    else open(found);
  },
  accept: () => settle("accept", "accepted"),
  reject: () => settle("reject", "rejected"),
  comment: () => byId("comment").focus(),
  save: () => { if (state.details) save(); },
  undo: () => { if (state.drawing && !state.drawing.undo()) tell("There is nothing to undo."); },
  withdraw: async () => {
    const { drawing } = state;
    drawing.takeOver(drawing.original);
    clearTimeout(waiting);
    waiting = null;
    if (await decide("withdraw")) {
      drawing.saved = drawing.values.slice();
      showDecision();
      tell("The original counts again. What was corrected stays on disk.");
    }
  },
  look: () => tool("look"),
  pen: () => tool("pen"),
  eraser: () => tool("eraser"),
  label,
  smaller: () => resize(state.size - 1),
  larger: () => resize(state.size + 1),
  paintHere: () => {
    if (!state.painting) return tell("Choose the pen or the eraser first.");
    state.drawing.begin();
    state.drawing.disc(state.at, view.still, state.size, state.paint);
    return state.drawing.end();
  },
  takeSlice: () => { if (usable()) taken(state.drawing.takeSlice(state.layers.prediction.values, state.at, view.still)); },
  takeRegion: () => { if (usable()) taken(state.drawing.takeRegion(state.layers.prediction.values, state.at)); },
  plane: () => {
    if (state.details.shape[2] > 1) view.activate((view.still + 2) % 3);
    view.focus();
  },
  move: (axis, by) => {
    const still = view.still;
    step(axis === 2 ? still : PLANES[still][axis], by);
  },
  channel: () => {
    const choice = byId("channel");
    if (choice.options.length < 2) return tell("There is one channel.");
    choice.selectedIndex = (choice.selectedIndex + 1) % choice.options.length;
    return chooseChannel();
  },
  closer: () => { state.zoom = Math.min(16, state.zoom * 1.5); view.draw(); },
  farther: () => { state.zoom = Math.max(1, state.zoom / 1.5); view.draw(); },
  outlines: () => {
    const boxes = [...document.querySelectorAll("[data-layer]:not(:disabled)")];
    const shown = !boxes.some((box) => box.checked);
    for (const box of boxes) {
      box.checked = shown;
      state.layers[box.dataset.layer].shown = shown;
    }
    view.draw();
  },
  help: () => byId("keys").showModal(),
  escape: () => { if (document.activeElement === byId("comment")) view.focus(); },
};
const usable = () => state.details && !state.details.problem && state.layers.prediction.values;

// The page itself.

async function changeView(kind) {
  const host = byId("views");
  view?.close();
  try {
    view = kind === "niivue" ? await NiivueView.open(host, state, events) : new PlainView(host, state, events);
  } catch (problem) {
    host.replaceChildren();
    alarm(new Error(`${problem.message} The page's own viewer shows the three planes.`));
    byId("viewer").hidden = true;
    view = new PlainView(host, state, events);
    kind = "plain";
  }
  document.body.dataset.view = kind;
  byId("viewer").textContent = kind === "niivue" ? "Planes only" : "3D view";
  if (state.details) await view.show();
}

function wire() {
  for (const button of document.querySelectorAll("[data-act]")) button.addEventListener("click", () => act[button.dataset.act]());
  for (const button of document.querySelectorAll("[data-tool]")) button.addEventListener("click", () => tool(button.dataset.tool));
  for (const box of document.querySelectorAll("[data-layer]")) {
    box.addEventListener("change", () => { state.layers[box.dataset.layer].shown = box.checked; view.draw(); });
  }
  byId("size").addEventListener("input", () => resize(Number(byId("size").value)));
  byId("comment").addEventListener("change", () => decide("comment", byId("comment").value));
  byId("channel").addEventListener("change", chooseChannel);
  for (const name of ["low", "high"]) byId(name).addEventListener("input", chooseWindow);
  byId("help").addEventListener("click", act.help);
  byId("viewer").addEventListener("click", () => changeView(document.body.dataset.view === "niivue" ? "plain" : "niivue"));
  byId("finish").addEventListener("click", finish);
  byId("theme").addEventListener("click", switchTheme);
  listKeys();
  listen(act, () => byId("single").checked);
  document.addEventListener("visibilitychange", () => { if (document.hidden) keepDraft(); });
  window.addEventListener("beforeunload", (event) => { if (waiting !== null) event.preventDefault(); });
  setInterval(() => { if (!document.hidden) safely(server.alive); }, ALIVE_EVERY_MS);
}

async function chooseChannel() {
  const { index } = state;
  const channel = Number(byId("channel").value);
  const image = await safely(() => server.bytes(index, `image/${channel}`));
  if (!image || index !== state.index || channel !== Number(byId("channel").value)) return;
  state.volume = new Volume(image);
  state.buffers.image = image;
  state.window = state.details.windows[channel];
  byId("low").value = 0;
  byId("high").value = 1000;
  await view.show();
  tellPlace();
}

// The sliders reach half a window beyond the usual one on either side.
function chooseWindow() {
  const [low, high] = state.details.windows[Number(byId("channel").value) || 0];
  const part = (name) => Number(byId(name).value) / 1000;
  const from = low + (part("low") - 0) * (high - low);
  const to = high - (1 - part("high")) * (high - low);
  state.window = [from, Math.max(to, from + (high - low) / 1000)];
  view.windowed?.();
  view.draw();
}

async function finish() {
  await keepDraft();
  await line;
  if (await safely(server.finish)) {
    alarm(new Error("The review has ended. All that was stored stays. This page can be closed."));
  }
}

async function start() {
  const found = await safely(server.review);
  if (!found) return;
  state.review = found;
  state.labels = found.labels;
  state.colours = colourTable(found.labels);
  for (const each of found.labels) state.hues[each.value] = each.colour;
  byId("title").textContent = found.title;
  byId("order").textContent = found.order;
  byId("reviewer").value = found.reviewer;
  byId("viewer").hidden = found.three_d.state !== "ready";
  state.value = listLabels(found.labels, label);
  wire();
  await changeView(found.three_d.state === "ready" ? "niivue" : "plain");
  const first = found.cases.findIndex((each) => !each.decision);
  await open(Math.max(0, first));
  document.body.dataset.ready = "yes";
}

start();
// For tests, which look at what is drawn.
window.review = { state, act, get view() { return view; }, settled: () => line };
