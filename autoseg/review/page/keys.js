// The page by keyboard. Single keys can be switched off, for those who speak to their computer.

export const KEYS = [
  ["n", "next", "Next case"],
  ["p", "previous", "Previous case"],
  ["u", "undecided", "Next undecided case"],
  ["a", "accept", "Accept"],
  ["r", "reject", "Reject"],
  ["c", "comment", "Comment"],
  ["s", "save", "Save the correction"],
  ["v", "look", "Look, paint nothing"],
  ["d", "pen", "Pen"],
  ["e", "eraser", "Eraser"],
  ["1 … 9", "", "Choose the label"],
  ["[", "smaller", "Smaller pen"],
  ["]", "larger", "Larger pen"],
  ["Space", "", "Paint at the cross"],
  ["t", "takeSlice", "Take the prediction in this slice"],
  ["Shift+T", "takeRegion", "Take the prediction in this region"],
  ["z", "undo", "Undo"],
  ["x", "plane", "Another plane"],
  ["Arrows", "", "Move the cross, on an image; with Shift by ten"],
  ["Page up, page down", "", "Another slice"],
  ["k", "channel", "Another channel"],
  ["+", "closer", "Closer"],
  ["-", "farther", "Farther"],
  ["o", "outlines", "Hide and show all labels"],
  ["?", "help", "Keys"],
];

const MOVES = {
  ArrowLeft: [0, 1],
  ArrowRight: [0, -1],
  ArrowUp: [1, 1],
  ArrowDown: [1, -1],
  PageUp: [2, 1],
  PageDown: [2, -1],
};

const typing = (target) => target.matches?.("input:not([type=checkbox]):not([type=range]), textarea, select");

// `act` has a function for each name; `enabled` says whether single keys count.
export function listen(act, enabled) {
  const names = new Map(KEYS.filter(([, name]) => name).map(([key, name]) => [key.replace("Shift+", ""), name]));
  const handle = (event) => {
    if (event.key === "Escape") return act.escape(event);
    if (typing(event.target) || event.altKey || document.querySelector("dialog[open]")) return undefined;
    if (event.ctrlKey || event.metaKey) {
      if (event.key === "z") return done(event, act.undo);
      if (event.key === "s") return done(event, act.save);
      return undefined;
    }
    const onImage = event.target.matches?.("canvas");
    const move = onImage || event.key.startsWith("Page") ? MOVES[event.key] : undefined;
    if (move) return done(event, () => act.move(move[0], move[1] * (event.shiftKey ? 10 : 1)));
    if (onImage && event.key === " ") return done(event, act.paintHere);
    if (!enabled()) {
      if (onImage) event.stopPropagation();
      return undefined;
    }
    if (/^[1-9]$/.test(event.key)) return done(event, () => act.label(Number(event.key)));
    const name = names.get(event.key);
    if (name) return done(event, act[name]);
    // NiiVue has keys of its own.
    if (onImage) event.stopPropagation();
    return undefined;
  };
  window.addEventListener("keydown", handle, true);
}

function done(event, action) {
  event.preventDefault();
  event.stopPropagation();
  action();
}
