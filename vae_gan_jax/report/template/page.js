"use strict";

// The page holds a film as base64 text. Browsers can seek in a Blob, but not in a data: address.
function openFilms() {
  for (const video of document.querySelectorAll("video")) {
    const text = document.getElementById(`${video.id}-data`);
    if (!text) continue;
    const bytes = Uint8Array.from(atob(text.textContent), (letter) => letter.charCodeAt(0));
    text.remove();
    video.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
  }
}

function clock(seconds) {
  const whole = Math.floor(seconds);
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

// Where a key moves to among `count` items, by `stride`; undefined for other keys.
function keyTarget(key, index, count, stride = 1) {
  const targets = { ArrowRight: index + stride, ArrowLeft: index - stride, Home: 0, End: count - 1 };
  return key in targets ? Math.min(count - 1, Math.max(0, targets[key])) : undefined;
}

// The shots of a film as bars: as wide as they are long, as high as the selected measure.
function timeline(element) {
  const { frames, rate, shots, values, texts } = JSON.parse(element.dataset.measures);
  const video = document.getElementById(element.dataset.player);
  const select = element.querySelector("select");
  const output = element.querySelector("output");
  const scale = element.querySelectorAll(".scale span");
  const strip = element.querySelector(".strip");
  const group = element.querySelector(".shots");
  const percent = (frame) => `${(100 * frame) / frames}%`;
  group.style.minWidth = `${shots.length * 5}px`;

  const bars = shots.map(([first, stop], index) => {
    const bar = document.createElement("button");
    bar.type = "button";
    bar.style.left = percent(first);
    bar.style.width = percent(stop - first);
    bar.dataset.shot = index;
    bar.tabIndex = index === 0 ? 0 : -1; // Tab reaches one bar, arrow keys move among them
    bar.append(document.createElement("span"));
    group.append(bar);
    return bar;
  });
  const playhead = document.createElement("div");
  playhead.className = "playhead";
  group.append(playhead);
  let current = null; // index of the shot at the playhead

  const describe = (index) => {
    const [first, stop] = shots[index];
    const range = `${clock(first / rate)}–${clock(stop / rate)}`;
    const measure = select.selectedOptions[0].textContent;
    return `Shot ${index + 1}, ${range}: ${measure} ${texts[select.value][index]}`;
  };
  const showCurrent = () => {
    output.textContent = current === null ? "" : describe(current);
  };

  const draw = () => {
    const measured = values[select.value];
    const numbers = measured.filter((value) => value !== null);
    const [lowest, highest] = [Math.min(...numbers), Math.max(...numbers)];
    const base = lowest - 0.25 * (highest - lowest); // so that the lowest bar has a height
    scale[0].textContent = numbers.length ? Number(highest.toPrecision(3)) : "";
    scale[1].textContent = numbers.length ? Number(base.toPrecision(3)) : "";
    bars.forEach((bar, index) => {
      const value = measured[index];
      let height = highest > base ? (value - base) / (highest - base) : 1;
      if (value === null) height = 0.08;
      bar.firstChild.style.height = `${Math.max(2, 100 * height)}%`;
      bar.classList.toggle("none", value === null);
      bar.setAttribute("aria-label", describe(index));
    });
    showCurrent();
  };

  const movePlayhead = () => {
    const frame = video.currentTime * rate;
    playhead.style.left = percent(Math.min(frame, frames));
    const index = shots.findIndex(([first, stop]) => first <= frame && frame < stop);
    if (index === current || index < 0) return;
    if (current !== null) bars[current].removeAttribute("aria-current");
    bars[index].setAttribute("aria-current", "true");
    current = index;
    showCurrent();
    const { offsetLeft, offsetWidth } = bars[index];
    const isHidden = offsetLeft < strip.scrollLeft
      || offsetLeft + offsetWidth > strip.scrollLeft + strip.clientWidth;
    if (isHidden) strip.scrollLeft = offsetLeft - strip.clientWidth / 3;
  };

  group.addEventListener("keydown", (event) => {
    const target = keyTarget(event.key, Number(event.target.dataset.shot), bars.length);
    if (target === undefined) return;
    event.preventDefault();
    for (const bar of bars) bar.tabIndex = -1;
    bars[target].tabIndex = 0;
    bars[target].focus();
  });
  const point = (event) => {
    const bar = event.target.closest(".shots button");
    if (bar) output.textContent = describe(Number(bar.dataset.shot));
  };
  group.addEventListener("pointerover", point);
  group.addEventListener("focusin", point);
  group.addEventListener("pointerleave", showCurrent);
  element.addEventListener("click", (event) => { // Enter on a button is a click, too
    const button = event.target.closest("button[data-shot]");
    if (!button) return;
    // Half a frame later, so that rounding does not show the last frame of the shot before.
    video.currentTime = (shots[Number(button.dataset.shot)][0] + 0.5) / rate;
    movePlayhead();
    if (!group.contains(button)) video.scrollIntoView({ block: "nearest" });
  });
  select.addEventListener("change", draw);
  video.addEventListener("timeupdate", movePlayhead);
  video.addEventListener("seeking", movePlayhead);
  draw();
}

// Shows a chart's values at the pointer, or at the point that the arrow keys have reached.
function chart(figure) {
  const { step, x, values } = JSON.parse(figure.dataset.points);
  const svg = figure.querySelector("svg");
  const line = figure.querySelector(".readout");
  const keys = figure.querySelectorAll(".key b");
  const output = figure.querySelector("output");
  let index = x.length - 1;

  const show = () => {
    line.setAttribute("x1", x[index]);
    line.setAttribute("x2", x[index]);
    line.removeAttribute("hidden");
    keys.forEach((key, curve) => {
      const value = values[curve][index];
      key.textContent = value === null ? " –" : ` ${Number(value.toPrecision(4))}`;
    });
    output.textContent = `step ${step[index].toLocaleString("en")}`;
  };
  const hide = () => {
    line.setAttribute("hidden", "");
    keys.forEach((key) => { key.textContent = ""; });
    output.textContent = "";
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const pointer = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const distance = x.map((position) => Math.abs(position - pointer));
    index = distance.indexOf(Math.min(...distance));
    show();
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("focus", () => { if (svg.matches(":focus-visible")) show(); });
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const target = keyTarget(event.key, index, x.length, Math.max(1, Math.round(x.length / 50)));
    if (target === undefined) return;
    event.preventDefault();
    index = target;
    show();
  });
}

// The slider chooses which grid of samples is visible.
function samples(slider) {
  const grids = document.querySelectorAll(".grids figure");
  const output = document.querySelector(".slider output");
  slider.addEventListener("input", () => {
    grids.forEach((grid, index) => { grid.hidden = index !== Number(slider.value); });
    output.textContent = grids[slider.value].dataset.label;
    slider.setAttribute("aria-valuetext", output.textContent);
  });
}

openFilms();
document.querySelectorAll(".timeline").forEach(timeline);
document.querySelectorAll(".chart").forEach(chart);
document.querySelectorAll("#epoch").forEach(samples);
