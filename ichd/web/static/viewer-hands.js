// What hands do to the viewer: wheel, keys, mouse and fingers, as moves through the stack, changes of the window, and of
// the size.

import { isPinched, pinch } from "./viewer-fingers.js";

const STEPS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 5, PageUp: -5 };
const PIXELS_A_NOTCH = 100;
const HU_A_PIXEL = 2;
const LEFT = 0;
const MIDDLE = 1;
const RIGHT = 2;

export function listen(stage, viewer) {
  stage.addEventListener("wheel", wheel(viewer), { passive: false });
  stage.addEventListener("keydown", (event) => keys(event, viewer));
  stage.addEventListener("pointerdown", (event) => drag(event, stage, viewer));
  pinch(stage, viewer);
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
}

// A mouse turns by notches, a touch pad by pixels: both move a slice for each notch's worth of way.
function wheel(viewer) {
  let way = 0;
  return (event) => {
    event.preventDefault();
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : event.deltaY * PIXELS_A_NOTCH;
    // A touch pad sends two fingers that part as a wheel with Ctrl.
    if (event.ctrlKey) {
      viewer.zoom.by(Math.exp(-pixels / (4 * PIXELS_A_NOTCH)), { x: event.clientX, y: event.clientY });
      return;
    }
    way = Math.sign(way) === Math.sign(pixels) ? way + pixels : pixels;
    const steps = Math.abs(pixels) >= PIXELS_A_NOTCH / 2 ? Math.sign(pixels) : Math.trunc(way / (PIXELS_A_NOTCH / 4));
    if (steps !== 0) {
      way = 0;
      viewer.move(steps);
    }
  };
}

function keys(event, viewer) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target !== event.currentTarget) {
    return;
  }
  const acts = {
    Home: () => viewer.go(0),
    End: () => viewer.go(viewer.count - 1),
    h: () => viewer.toggleHeat(),
    n: () => viewer.jump(1),
    p: () => viewer.jump(-1),
    "+": () => viewer.magnify(1),
    "=": () => viewer.magnify(1),
    "-": () => viewer.magnify(-1),
    0: () => viewer.magnify(0),
    1: () => viewer.preset(0),
    2: () => viewer.preset(1),
    3: () => viewer.preset(2),
  };
  const act = event.key in STEPS ? () => viewer.move(STEPS[event.key]) : acts[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
}

// The left button, or a finger, drags through the stack; the right one, or Shift, through windows; the middle one, or
// Ctrl, the slice itself.
function drag(down, stage, viewer) {
  if (![LEFT, MIDDLE, RIGHT].includes(down.button)) {
    return;
  }
  const act = actOf(down, stage, viewer);
  stage.setPointerCapture(down.pointerId);
  const move = (event) => {
    if (event.pointerId === down.pointerId && !isPinched(stage)) {
      act(event);
    }
  };
  const end = (event) => {
    if (event.pointerId === down.pointerId) {
      ["pointerup", "pointercancel"].forEach((name) => stage.removeEventListener(name, end));
      stage.removeEventListener("pointermove", move);
    }
  };
  stage.addEventListener("pointermove", move);
  ["pointerup", "pointercancel"].forEach((name) => stage.addEventListener(name, end));
}

function actOf(down, stage, viewer) {
  if (down.button === RIGHT || down.shiftKey) {
    const { level, width } = viewer.window;
    return (event) => {
      const [right, below] = [event.clientX - down.clientX, event.clientY - down.clientY];
      viewer.setWindow(level - below * HU_A_PIXEL, Math.max(2, width + right * HU_A_PIXEL));
    };
  }
  if (down.button === MIDDLE || down.ctrlKey) {
    // A middle button would scroll the page by itself.
    down.preventDefault();
    let last = down;
    return (event) => {
      viewer.zoom.move(event.clientX - last.clientX, event.clientY - last.clientY);
      last = event;
    };
  }
  const from = viewer.index;
  // The whole height leads through the whole stack, and a slice is never less than a few pixels wide.
  const pixelsASlice = Math.max(4, stage.clientHeight / viewer.count);
  return (event) => viewer.go(from + Math.round((event.clientY - down.clientY) / pixelsASlice));
}
