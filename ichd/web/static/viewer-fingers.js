// Two fingers on the stage: as they part the slice grows, as they move it moves.

const touching = new WeakMap();

// Whether more than one finger is down: then none of them scrolls.
export function isPinched(stage) {
  return (touching.get(stage)?.size ?? 0) > 1;
}

export function pinch(stage, viewer) {
  const fingers = new Map();
  touching.set(stage, fingers);
  stage.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch") {
      fingers.set(event.pointerId, place(event));
    }
  });
  stage.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) {
      return;
    }
    const before = spread(fingers);
    fingers.set(event.pointerId, place(event));
    if (fingers.size === 2) {
      const after = spread(fingers);
      viewer.zoom.move(after.x - before.x, after.y - before.y);
      viewer.zoom.by(after.apart / before.apart, after);
    }
  });
  for (const name of ["pointerup", "pointercancel"]) {
    stage.addEventListener(name, (event) => fingers.delete(event.pointerId));
  }
}

function place(event) {
  return { x: event.clientX, y: event.clientY };
}

// How far two fingers are apart, and the point between them.
function spread(fingers) {
  const [a, b = a] = fingers.values();
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.max(1, Math.hypot(a.x - b.x, a.y - b.y)) };
}
