// The slice viewer of a study's page. What is written around a slice is always about the slice that is drawn: while the
// next one is on its way, picture and words stay.

import { listen } from "./viewer-hands.js";
import { Slices } from "./viewer-slices.js";
import { Strips } from "./viewer-strips.js";
import { greyTable, paint } from "./viewer-window.js";
import { Zoom } from "./viewer-zoom.js";

const GREY = { name: "picture", level: 128, width: 256 };
const RULER_MM = 50;

export class Viewer {
  // `root` is the section of study_viewer.html; `remembered` comes from `state` of an earlier viewer.
  constructor(root, remembered = {}) {
    this.root = root;
    this.stage = root.querySelector(".stage");
    this.box = root.querySelector(".picture");
    this.canvas = root.querySelector("canvas");
    this.layer = root.querySelector(".heat-layer");
    this.slider = root.querySelector(".slider");
    this.presets = JSON.parse(root.dataset.windows);
    this.reading = root.dataset.stack ? JSON.parse(root.dataset.stack) : null;
    this.window = remembered.window ?? this.presets[0];
    this.heatOn = remembered.heatOn ?? false;
    this.drawn = null;
    this.zoom = new Zoom(this.stage, this.box, () => this.rule());
    this.strips = new Strips(document, (index) => this.goInReading(index));
    this.connect();
    if (this.reading) {
      this.open(this.reading, remembered.index ?? this.reading.slices.findIndex((each) => each.sop === remembered.sop));
      if (remembered.index !== undefined) {
        this.takePreloaded();
      }
      if (remembered.zoom) {
        this.zoom.set(remembered.zoom);
      }
    } else {
      this.openSeries(root.querySelector("[data-series]").value);
    }
  }

  get count() {
    return this.slices ? this.slices.stack.slices.length : 0;
  }

  get state() {
    const shown = this.slices?.stack.slices[this.index];
    return { window: this.window, heatOn: this.heatOn, sop: shown?.sop, zoom: this.zoom.place };
  }

  connect() {
    listen(this.stage, this);
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value) - 1));
    this.root.addEventListener("click", (event) => this.press(event.target.closest("button")));
    this.root.querySelector("select[data-series]")?.addEventListener("change", (event) => {
      this.openSeries(event.target.value);
    });
    this.root.querySelector("[data-heat-class]")?.addEventListener("change", () => this.showHeat());
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(this.stage);
  }

  close() {
    this.observer.disconnect();
    this.slices?.close();
  }

  press(button) {
    if (button === null) {
      return;
    }
    if ("window" in button.dataset) {
      this.preset(Number(button.dataset.window));
    } else if ("jump" in button.dataset) {
      this.jump(Number(button.dataset.jump));
    } else if ("zoom" in button.dataset) {
      this.magnify(Number(button.dataset.zoom));
    } else if ("heat" in button.dataset) {
      this.toggleHeat();
    }
  }

  async openSeries(uid) {
    if (this.reading?.series === uid) {
      this.open(this.reading, -1);
      return;
    }
    const answer = await fetch(`/api/studies/${this.root.dataset.study}/series/${uid}/stack`);
    if (answer.ok) {
      this.open(await answer.json(), -1);
    } else {
      this.say("trouble", (await answer.json()).error);
    }
  }

  open(stack, index) {
    this.slices?.close();
    this.slices = new Slices(stack, (arrived) => this.arrived(arrived));
    this.slider.max = String(stack.slices.length);
    this.index = null;
    this.drawn = null;
    this.zoom.reset();
    this.go(index < 0 ? stack.start : index);
  }

  // The page asked for this slice before any script ran; whatever is looked at first, it is on its way already.
  takePreloaded() {
    if (this.slices.stack === this.reading && !this.slices.underWay.has(this.reading.start)) {
      this.slices.fetch(this.reading.start);
    }
  }

  goInReading(index) {
    if (this.slices?.stack !== this.reading) {
      const choice = this.root.querySelector("select[data-series]");
      if (choice) {
        choice.value = this.reading.series;
      }
      this.open(this.reading, index);
    } else {
      this.go(index);
    }
  }

  move(steps) {
    this.go(this.index + steps);
  }

  go(index) {
    const target = Math.min(this.count - 1, Math.max(0, index));
    if (target === this.index) {
      return;
    }
    const direction = this.index !== null && target < this.index ? -1 : 1;
    this.index = target;
    this.slices.want(target, direction);
    this.arrived(target);
  }

  // To the next slice that the model suspects, in this direction; from the last one on to the first.
  jump(direction) {
    const { suspicious } = this.slices.stack;
    if (suspicious.length === 0) {
      return;
    }
    const ordered = direction > 0 ? suspicious : [...suspicious].reverse();
    this.go(ordered.find((each) => (each - this.index) * direction > 0) ?? ordered[0]);
  }

  preset(number) {
    this.window = this.presets[number];
    this.redraw();
  }

  setWindow(level, width) {
    this.window = { name: "free", level: Math.round(level), width: Math.round(width) };
    this.redraw();
  }

  // A step larger (1) or smaller (-1), or as large as the stage (0).
  magnify(direction) {
    if (direction === 0) {
      this.zoom.reset();
    } else {
      this.zoom.step(direction);
    }
  }

  toggleHeat() {
    this.heatOn = !this.heatOn;
    this.showHeat();
  }

  arrived(index) {
    if (index !== this.index) {
      return;
    }
    const trouble = this.slices.trouble(index);
    if (trouble) {
      this.drawn = null;
    }
    this.say("trouble", trouble ? `Slice ${index + 1} can't be shown: ${trouble}` : "");
    this.box.hidden = Boolean(trouble);
    if (trouble || this.slices.get(index)) {
      this.redraw();
    }
  }

  redraw() {
    const slice = this.slices?.get(this.index);
    if (slice) {
      const window = slice.unit === "HU" ? this.window : GREY;
      if (this.tabled !== window) {
        this.tabled = window;
        this.table = greyTable(window.level, window.width);
      }
      paint(this.canvas, slice, this.table);
      this.drawn = slice;
      this.fit();
    }
    this.describe(slice);
    this.showHeat();
    // Tests and the benchmark read which slice is on the screen.
    this.stage.dataset.shown = String(this.index + 1);
  }

  describe(slice) {
    const { z } = this.slices.stack.slices[this.index];
    const isReading = this.slices.stack === this.reading;
    const suspicious = this.slices.stack.suspicious.includes(this.index);
    const window = slice?.unit === "grey" ? GREY : this.window;
    const place = `${this.index + 1} / ${this.count}${suspicious ? " ▲ suspicious" : ""}`;
    const shown = window === GREY ? "as stored" : `${window.name[0].toUpperCase()}${window.name.slice(1)} W ${window.width} L ${window.level}`;
    this.say("place", place);
    this.say("window", shown);
    this.say("where", z === null ? "" : `z ${z.toFixed(1).replace("-", "−")} mm`);
    this.say("note", slice?.note ?? "");
    const label = `Slice ${this.index + 1} of ${this.count}${suspicious ? ", suspicious" : ""}, ${shown}`;
    this.canvas.setAttribute("aria-label", label);
    this.slider.value = String(this.index + 1);
    this.slider.setAttribute("aria-valuetext", label);
    const sides = slice?.sides ?? ["", "", "", ""];
    ["left", "right", "top", "bottom"].forEach((where, i) => {
      this.root.querySelector(`.at-${where}`).textContent = sides[i];
    });
    for (const button of this.root.querySelectorAll("[data-window]")) {
      button.setAttribute("aria-pressed", String(this.presets[button.dataset.window].name === window.name));
    }
    this.strips.show(isReading ? this.index : null);
  }

  say(what, words) {
    if (what === "trouble") {
      const place = this.root.querySelector(".trouble");
      place.textContent = words;
      place.hidden = words === "";
    } else {
      this.root.querySelector(`[data-say="${what}"]`).textContent = words;
    }
  }

  showHeat() {
    const button = this.root.querySelector("[data-heat]");
    if (button === null) {
      return;
    }
    const here = this.slices.stack.heat.filter((each) => each.slice === this.index);
    const choice = this.root.querySelector("[data-heat-class]");
    const wanted = choice.value || this.lastClass;
    choice.replaceChildren(...here.map((each) => new Option(each.label, each.class)));
    choice.disabled = here.length === 0;
    // The kind that was looked at last, or the most special one: that of any haemorrhage stands first.
    const heat = here.find((each) => each.class === wanted) ?? here.at(-1);
    if (heat) {
      choice.value = heat.class;
      this.lastClass = heat.class;
    } else {
      choice.replaceChildren(new Option("none for this slice", ""));
    }
    button.setAttribute("aria-pressed", String(this.heatOn));
    const isShown = this.heatOn && heat !== undefined && this.drawn !== null;
    if (isShown && this.layer.getAttribute("src") !== heat.url) {
      this.layer.src = heat.url;
      this.layer.alt = `Heat map: ${heat.label}`;
    }
    this.layer.hidden = !isShown;
  }

  // The largest box of the slice's true proportions that the stage holds.
  fit() {
    if (this.drawn === null) {
      return;
    }
    const [down, across] = this.drawn.spacing_mm ?? [1, 1];
    const [height, width] = [this.drawn.rows * down, this.drawn.columns * across];
    const scale = Math.min(this.stage.clientWidth / width, this.stage.clientHeight / height);
    this.box.style.setProperty("width", `${width * scale}px`);
    this.box.style.setProperty("height", `${height * scale}px`);
    this.pixelsAMm = this.drawn.spacing_mm === null ? null : scale;
    this.zoom.apply();
  }

  // A bar of 5 cm, as large as the picture shows them.
  rule() {
    const ruler = this.root.querySelector(".ruler");
    ruler.hidden = !this.pixelsAMm;
    if (this.pixelsAMm) {
      ruler.style.setProperty("width", `${RULER_MM * this.pixelsAMm * this.zoom.scale}px`);
      ruler.firstElementChild.textContent = `${RULER_MM / 10} cm`;
    }
    this.say("size", this.zoom.scale === 1 ? "" : `${this.zoom.scale.toFixed(1)}×`);
  }
}
