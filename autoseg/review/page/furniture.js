// What stands around the images: the list of cases, the labels, the keys.

import { KEYS } from "./keys.js";

const byId = (id) => document.getElementById(id);

// The mark and the numbers of a case in a line.
export function summary(each) {
  const parts = Object.entries(each.numbers).map(([name, value]) => `${name} ${value}`);
  return [each.mark, ...parts].filter(Boolean).join(", ");
}

function states(each) {
  const found = [];
  if (each.decision) found.push([each.decision, each.decision]);
  if (each.corrected) found.push(["corrected", "corrected"]);
  if (each.draft) found.push(["draft", "drawing not saved"]);
  return found;
}

export function listCases(cases, current, open) {
  const focused = document.activeElement?.closest("#cases") !== null;
  byId("cases").replaceChildren(...cases.map((each, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(each.case);
    for (const [kind, words] of states(each)) {
      const mark = document.createElement("span");
      mark.className = `state ${kind}`;
      mark.textContent = words;
      button.append(" ", mark);
    }
    const more = document.createElement("small");
    more.textContent = summary(each);
    button.append(more);
    if (index === current) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => open(index));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
  // Who went through the list by keyboard goes on from the same place.
  if (focused) document.querySelector("#cases [aria-current]")?.focus();
  const done = cases.filter((each) => each.decision || each.corrected).length;
  byId("progress").textContent = `${done} of ${cases.length} reviewed`;
}

// Where the cross is and what is there. Pictures are counted from their upper left corner, as elsewhere.
export function placeInWords({ at, drawing, details, volume, layers, labels }) {
  const { shape, placed } = details;
  const axes = shape[2] > 1 || placed ? [0, 1, 2] : [0, 1];
  const count = (axis) => (axes.length > 2 ? at[axis] + 1 : shape[axis] - at[axis]);
  const name = (value) => labels.find((each) => each.value === value)?.name ?? String(value);
  const index = drawing.index(at);
  const value = volume.at(index);
  const parts = [
    `Cross at ${axes.map(count).join(", ")} of ${axes.map((axis) => shape[axis]).join(" × ")}`,
    `value ${typeof value === "number" ? Number(value.toPrecision(5)) : value}`,
    `label ${name(drawing.values[index])}`,
  ];
  if (layers.prediction.values) parts.push(`prediction ${name(layers.prediction.values[index])}`);
  return parts.join("; ");
}

// Returns the first label, which the pen begins with.
export function listLabels(labels, choose) {
  const shown = labels.filter((each) => each.value !== 0);
  byId("labels").replaceChildren(...shown.map((each, index) => {
    const line = document.createElement("label");
    const choice = document.createElement("input");
    Object.assign(choice, { type: "radio", name: "label", value: each.value, checked: index === 0 });
    choice.addEventListener("change", () => choose(index + 1));
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = each.colour;
    line.append(choice, swatch, each.name);
    return line;
  }));
  return shown[0]?.value ?? 1;
}

export function listKeys() {
  byId("keyList").replaceChildren(...KEYS.flatMap(([key, , words]) => {
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    term.append(Object.assign(document.createElement("kbd"), { textContent: key }));
    text.textContent = words;
    return [term, text];
  }));
}

export function switchTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const root = document.documentElement;
  root.dataset.theme = (root.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
}
