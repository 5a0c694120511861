// What hands do to the viewer: wheel, keys, mouse and fingers, as moves through the stack and changes of the window.

const STEPS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 5, PageUp: -5 };
const PIXELS_A_NOTCH = 100;
const HU_A_PIXEL = 2;

export function listen(stage, viewer) {
  stage.addEventListener("wheel", wheel(viewer), { passive: false });
  stage.addEventListener("keydown", (event) => keys(event, viewer));
  stage.addEventListener("pointerdown", (event) => drag(event, stage, viewer));
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
}

// A mouse turns by notches, a touch pad by pixels: both move a slice for each notch's worth of way.
function wheel(viewer) {
  let way = 0;
  return (event) => {
    event.preventDefault();
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : event.deltaY * PIXELS_A_NOTCH;
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

// The left button, or a finger, drags through the stack; the right one, or Shift, through windows.
function drag(down, stage, viewer) {
  if (down.button > 2 || down.button === 1) {
    return;
  }
  const windowing = down.button === 2 || down.shiftKey;
  const from = { x: down.clientX, y: down.clientY, index: viewer.index, ...viewer.window };
  // The whole height leads through the whole stack, and a slice is never less than a few pixels wide.
  const pixelsASlice = Math.max(4, stage.clientHeight / viewer.count);
  stage.setPointerCapture(down.pointerId);
  const move = (event) => {
    const [right, below] = [event.clientX - from.x, event.clientY - from.y];
    if (windowing) {
      viewer.setWindow(from.level - below * HU_A_PIXEL, Math.max(2, from.width + right * HU_A_PIXEL));
    } else {
      viewer.go(from.index + Math.round(below / pixelsASlice));
    }
  };
  const end = () => {
    stage.removeEventListener("pointermove", move);
  };
  stage.addEventListener("pointermove", move);
  stage.addEventListener("pointerup", end, { once: true });
  stage.addEventListener("pointercancel", end, { once: true });
}
