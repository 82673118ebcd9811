// The map of the film's codes, to click and drag, and its shots as buttons.

import { $, button, clock, element, moveByArrows } from "./dom.js";

const POINT_PIXELS = 2.5; // radius
const MARGIN = 0.04; // around the map, of its size
const KEY_STEP = 0.02;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

export class FilmMap {
  // `go(x, y)` shows the code nearest to a place on the map, 0 to 1.
  constructor(canvas, { points, times, shots, variance }, go) {
    Object.assign(this, { canvas, points, times, shots, go, place: [0.5, 0.5], now: -1, isPlaced: false });
    $("map-section").hidden = false;
    $("map-note").textContent = `Principal components 1 and 2 of the codes (${variance.map((share) => `${Math.round(100 * share)}%`).join(" and ")} of the variance). A colour for each shot.`;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.point(event);
    });
    canvas.addEventListener("pointermove", (event) => event.buttons && this.point(event));
    canvas.addEventListener("keydown", (event) => {
      if (!ARROWS[event.key]) return;
      event.preventDefault();
      this.moveTo(...ARROWS[event.key].map((sign, axis) => this.place[axis] + sign * KEY_STEP));
    });
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  point({ offsetX, offsetY }) {
    const share = (offset, size) => (offset / size - MARGIN) / (1 - 2 * MARGIN);
    this.moveTo(share(offsetX, this.canvas.clientWidth), 1 - share(offsetY, this.canvas.clientHeight));
  }

  moveTo(...place) {
    this.isPlaced = true;
    this.place = place.map((share) => Math.min(1, Math.max(0, share)));
    this.go(...this.place);
    this.draw();
  }

  // Marks the moment that is on the stage; NaN: none.
  mark(seconds) {
    const index = Number.isFinite(seconds) ? this.times.findLastIndex((time) => time <= seconds + 1e-3) : -1;
    if (index === this.now) return;
    this.now = index;
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((size) => Math.round(size * devicePixelRatio));
    if (!width) return;
    [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    const at = ([x, y]) => [x, 1 - y].map((share, axis) => (MARGIN + share * (1 - 2 * MARGIN)) * (axis ? height : width));
    const circle = (place, radius) => {
      context.beginPath();
      context.arc(...at(place), radius * devicePixelRatio, 0, 2 * Math.PI);
    };
    this.points.forEach((place, index) => {
      context.fillStyle = `hsl(${(this.shots[index] * 137.5) % 360} 65% 52% / 0.75)`; // the golden angle: neighbours differ
      circle(place, POINT_PIXELS);
      context.fill();
    });
    if (this.now < 0 && !this.isPlaced) return;
    context.strokeStyle = getComputedStyle(canvas).color;
    context.lineWidth = 2 * devicePixelRatio;
    circle(this.points[this.now] ?? this.place, 7);
    context.stroke();
  }
}

// A button for each shot; its picture needs the codes. Returns a function that marks the shot of a time.
export function makeShots(container, shots, hasCodes, go) {
  const buttons = shots.map((shot) => {
    const made = button("", () => go(shot), { "aria-label": `Shot ${shot.number}, at ${clock(shot.time)}` });
    if (hasCodes) made.append(element("img", { src: `shots/${shot.number}.jpg`, alt: "", loading: "lazy" }));
    made.append(clock(shot.time));
    return made;
  });
  container.replaceChildren(...buttons);
  moveByArrows(container, buttons);
  $("shots-section").hidden = !shots.length;
  return (seconds) => {
    const current = shots.findLastIndex(({ time }) => time <= seconds + 1e-3);
    buttons.forEach((made, index) => made.setAttribute("aria-current", Number.isFinite(seconds) && index === current));
  };
}
