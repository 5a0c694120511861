// How large a slice is drawn, and which part of it: the same for all slices of a stack, so that a place stays a place.

const MOST = 8;
const STEP = 1.25;

export class Zoom {
  // `box` fills `stage` at scale 1, its middle on that of the stage; `changed(scale)` is told of each change.
  constructor(stage, box, changed) {
    this.stage = stage;
    this.box = box;
    this.changed = changed;
    this.scale = 1;
    this.shift = { x: 0, y: 0 };
  }

  reset() {
    this.set({ scale: 1, shift: { x: 0, y: 0 } });
  }

  get place() {
    return { scale: this.scale, shift: this.shift };
  }

  set({ scale, shift }) {
    this.scale = scale;
    this.shift = shift;
    this.apply();
  }

  // What lies under this point of the window stays there; without one, what lies in the middle.
  by(factor, at = null) {
    const scale = Math.min(MOST, Math.max(1, this.scale * factor));
    const stage = this.stage.getBoundingClientRect();
    const [x, y] = at ? [at.x - stage.x - stage.width / 2, at.y - stage.y - stage.height / 2] : [0, 0];
    const grown = scale / this.scale;
    this.shift = { x: x - (x - this.shift.x) * grown, y: y - (y - this.shift.y) * grown };
    this.scale = scale;
    this.apply();
  }

  step(direction) {
    this.by(direction > 0 ? STEP : 1 / STEP);
  }

  move(x, y) {
    this.shift = { x: this.shift.x + x, y: this.shift.y + y };
    this.apply();
  }

  // The slice never leaves the stage: its edge stops at the stage's, or at the middle where it is the smaller one.
  apply() {
    const within = (shift, size, room) => {
      const most = Math.max(0, (size * this.scale - room) / 2);
      return Math.min(most, Math.max(-most, shift));
    };
    this.shift = {
      x: within(this.shift.x, this.box.offsetWidth, this.stage.clientWidth),
      y: within(this.shift.y, this.box.offsetHeight, this.stage.clientHeight),
    };
    const { x, y } = this.shift;
    this.box.style.setProperty("transform", this.scale === 1 ? "none" : `translate(${x}px, ${y}px) scale(${this.scale})`);
    this.changed(this.scale);
  }
}
