// The strips of probabilities beside the viewer: they show where it stands, and lead to any slice.

const SVG = "http://www.w3.org/2000/svg";
const STEPS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 5, PageDown: -5 };

export class Strips {
  constructor(root, go) {
    this.go = go;
    this.strips = [...root.querySelectorAll("svg.strip")].map((svg) => this.enliven(svg));
  }

  enliven(svg) {
    const percents = svg.dataset.percents.split(" ");
    const count = percents.length;
    const cursor = document.createElementNS(SVG, "rect");
    cursor.setAttribute("class", "cursor");
    cursor.setAttribute("width", "1");
    cursor.setAttribute("height", String(svg.viewBox.baseVal.height));
    svg.append(cursor);
    svg.setAttribute("tabindex", "0");
    svg.setAttribute("role", "slider");
    svg.setAttribute("aria-label", `${svg.dataset.label}: slice`);
    svg.setAttribute("aria-valuemin", "1");
    svg.setAttribute("aria-valuemax", String(count));
    const pick = (event) => {
      const box = svg.getBoundingClientRect();
      const index = Math.floor(((event.clientX - box.left) / box.width) * count);
      this.go(Math.min(count - 1, Math.max(0, index)));
    };
    svg.addEventListener("pointerdown", (event) => {
      svg.setPointerCapture(event.pointerId);
      pick(event);
    });
    svg.addEventListener("pointermove", (event) => {
      if (event.buttons !== 0) {
        pick(event);
      }
    });
    svg.addEventListener("keydown", (event) => {
      const at = Number(svg.getAttribute("aria-valuenow")) - 1;
      const target = event.key === "Home" ? 0 : event.key === "End" ? count - 1 : at + STEPS[event.key];
      if (!Number.isNaN(target)) {
        event.preventDefault();
        this.go(Math.min(count - 1, Math.max(0, target)));
      }
    });
    return { svg, cursor, percents };
  }

  // `index` is null where the viewer shows another series.
  show(index) {
    for (const { svg, cursor, percents } of this.strips) {
      cursor.setAttribute("visibility", index === null ? "hidden" : "visible");
      if (index !== null) {
        cursor.setAttribute("x", String(index));
        svg.setAttribute("aria-valuenow", String(index + 1));
        svg.setAttribute("aria-valuetext", `slice ${index + 1}, ${percents[index]} percent`);
      }
    }
  }
}
