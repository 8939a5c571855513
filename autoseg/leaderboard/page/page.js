"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const form = document.querySelector(".filters");
  const { dataset: datasets, metric, structure } = form.elements;
  const banner = document.querySelector(".filtered");

  // Sorting: the heads become buttons only here, so that a page without scripts shows no dead ones.
  function makeSortable(table) {
    all("thead th", table).forEach((head) => {
      if (head.hasAttribute("data-nosort") || head.querySelector("button")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
    });
  }

  function key(row, column) {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    const number = Number(text);
    return text !== "" && Number.isFinite(number) ? number : text.toLowerCase();
  }

  function compare(a, b) {
    if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1;
  }

  function sort(head) {
    const table = head.closest("table");
    const column = [...head.parentNode.children].indexOf(head);
    const down = head.getAttribute("aria-sort") === "ascending";
    all("thead th[aria-sort]", table).forEach((other) => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, place) => ({ row, place, key: key(row, column) }));
    rows.sort((a, b) => (down ? compare(b.key, a.key) : compare(a.key, b.key)) || a.place - b.place);
    body.append(...rows.map((item) => item.row));
  }

  document.addEventListener("click", (event) => {
    const head = event.target.closest("thead button")?.closest("th");
    if (head) sort(head);
  });

  // Filters. A set keeps what the page came with as one more template, so that it can come back.
  all(".set").forEach((set) => {
    const view = set.querySelector(".view");
    const home = document.createElement("template");
    home.content.append(...[...view.childNodes].map((node) => node.cloneNode(true)));
    home.dataset.home = "yes";
    set.append(home);
  });

  const atHome = () => metric.selectedIndex === 0 && structure.selectedIndex === 0;

  function chosenView(set) {
    const templates = all(":scope > template", set);
    if (atHome()) return templates.find((t) => t.dataset.home);
    return templates.find((t) => t.dataset.metric === metric.value && t.dataset.structure === structure.value);
  }

  function showViews() {
    all(".set").forEach((set) => {
      const view = set.querySelector(".view");
      const wanted = atHome() ? "home" : `${metric.value}|${structure.value}`;
      if ((set.dataset.shown ?? "home") === wanted) return;
      set.dataset.shown = wanted;
      const template = chosenView(set);
      if (template) view.replaceChildren(template.content.cloneNode(true));
      else view.innerHTML = "<p class='verdict absent'>This choice is not in this page for this data set.</p>";
      all("table.sortable", view).forEach(makeSortable);
    });
  }

  function apply() {
    const dataset = datasets?.value ?? "";
    const boxes = all("input[name=trainer]", form);
    const hidden = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
    showViews();
    all(".overview").forEach((overview) => (overview.hidden = dataset !== ""));
    all("details.dataset").forEach((section, i) => {
      section.hidden = dataset !== "" && String(i) !== dataset;
      if (String(i) === dataset) section.open = true;
    });
    all("[data-trainer]").forEach((element) => {
      element.hidden = hidden.has(element.dataset.trainer) || hidden.has(element.dataset.other);
      if (element.tagName === "g") element.style.display = element.hidden ? "none" : "";
    });
    const shown = boxes.length - hidden.size;
    form.querySelector(".count").textContent = `${shown} of ${boxes.length}`;
    tell(dataset, shown, boxes.length);
  }

  function tell(dataset, shown, total) {
    const parts = [];
    if (shown < total) parts.push(`${shown} of ${total} trainers`);
    if (dataset !== "") parts.push(`data set ${datasets.selectedOptions[0].textContent} only`);
    if (metric.selectedIndex > 0) parts.push(`by ${metric.selectedOptions[0].textContent}`);
    if (structure.selectedIndex > 0) parts.push(`structure ${structure.value} only`);
    banner.hidden = parts.length === 0;
    const kept = shown < total ? " Ranks, ties, adjusted p values and the Pareto front are still those of all trainers." : "";
    banner.textContent = parts.length ? `Filtered view: ${parts.join(", ")}.${kept}` : "";
  }

  form.hidden = false;
  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  const chooser = form.querySelector(".choose");
  document.addEventListener("click", (event) => chooser.contains(event.target) || (chooser.open = false));
  chooser.addEventListener("keydown", (event) => event.key === "Escape" && (chooser.open = false));
  all("table.sortable").forEach(makeSortable);

  // Pointing at a dot shows the same case for every trainer.
  function places(path) {
    if (!path.places) {
      let x = 0;
      let y = 0;
      path.places = path.getAttribute("d").split("m").slice(1).map((step) => {
        const [dx, dy] = step.replace("h0", "").split(" ").map(Number);
        x += dx;
        y += dy;
        return [x, y];
      });
    }
    return path.places;
  }

  function nearest(strip, event) {
    const box = strip.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = { distance: 14, index: -1 };
    places(strip.querySelector(".dots")).forEach(([px, py], index) => {
      const distance = Math.hypot((px / 1000) * box.width - x, (py / 34) * box.height - y);
      if (distance < best.distance) best = { distance, index };
    });
    return best.index;
  }

  function value(table, x) {
    const { low, high, zone } = table.dataset;
    const width = zone ? 930 : 1000;
    const from = zone === "left" ? 70 : 0;
    const part = (x - from) / width;
    if (part < -0.001) return `below ${Number(low)}`;
    if (part > 1.001) return `above ${Number(high)}`;
    return (Number(low) + part * (Number(high) - Number(low))).toFixed(2);
  }

  function point(table, index, own) {
    all(".pointer", table).forEach((mark) => mark.remove());
    const words = table.closest("figure").querySelector(".pointed");
    if (index < 0) {
      words.textContent = "";
      return;
    }
    all("tr[data-trainer]:not([hidden]) .strip", table).forEach((strip) => {
      const [x, y] = places(strip.querySelector(".dots"))[index];
      for (const kind of ["pointer", "pointer inner"]) {
        const mark = document.createElementNS("http://www.w3.org/2000/svg", "path");
        mark.setAttribute("class", kind);
        mark.setAttribute("d", `M${x} ${y}h0`);
        strip.append(mark);
      }
    });
    const names = JSON.parse(table.closest(".set").querySelector(".names").textContent);
    const [x] = places(own.querySelector(".dots"))[index];
    words.textContent = `${names[index]}: ${value(table, x)} with ${own.closest("tr").querySelector(".name").textContent}`;
  }

  document.addEventListener("pointermove", (event) => {
    const strip = event.target.closest?.(".strip");
    const table = strip?.closest("table");
    if (strip) point(table, nearest(strip, event), strip);
    else all(".strips").filter((other) => other.querySelector(".pointer")).forEach((other) => point(other, -1));
  });

  // Dark or light, for this visit only: a file has no place to remember it.
  const theme = document.querySelector(".theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  const copy = document.querySelector(".copy");
  copy.hidden = !navigator.clipboard;
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.querySelector("#methods").textContent);
    copy.textContent = "Copied";
  });

  // A link to a data set opens it; print opens all.
  const open = () => document.querySelector(location.hash.startsWith("#d") ? location.hash : "#none")?.setAttribute("open", "");
  addEventListener("hashchange", open);
  open();
  addEventListener("beforeprint", () => all("main details").forEach((details) => (details.open = true)));
})();
