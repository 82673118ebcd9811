"use strict";

// A film lies in the page as text; a Blob of it can be sought in, in every browser.
function openFilms() {
  for (const video of document.querySelectorAll("video")) {
    const text = document.getElementById(video.id + "-data");
    if (!text) continue;
    const letters = atob(text.textContent);
    const bytes = new Uint8Array(letters.length);
    for (let at = 0; at < letters.length; at++) bytes[at] = letters.charCodeAt(at);
    text.remove();
    video.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
  }
}

const clock = (seconds) => {
  const whole = Math.floor(seconds);
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
};

// The shots of a film as bars: as wide as they are long, as high as the chosen measure.
function timeline(element) {
  const { frames, rate, shots, values, shown } = JSON.parse(element.dataset.measures);
  const video = document.getElementById(element.dataset.player);
  const select = element.querySelector("select");
  const output = element.querySelector("output");
  const scale = element.querySelectorAll(".scale span");
  const strip = element.querySelector(".strip");
  const place = element.querySelector(".shots");
  const percent = (frame) => `${(100 * frame) / frames}%`;
  place.style.minWidth = `${shots.length * 5}px`;

  const bars = shots.map(([first, stop], index) => {
    const bar = document.createElement("button");
    bar.type = "button";
    bar.style.left = percent(first);
    bar.style.width = percent(stop - first);
    bar.dataset.shot = index;
    bar.tabIndex = index === 0 ? 0 : -1; // one stop for Tab; arrow keys move along
    bar.append(document.createElement("span"));
    place.append(bar);
    return bar;
  });
  const playhead = document.createElement("div");
  playhead.className = "playhead";
  place.append(playhead);

  const tell = (index) => {
    const [first, stop] = shots[index];
    const name = select.selectedOptions[0].textContent;
    const from = `${clock(first / rate)}–${clock(stop / rate)}`;
    return `Shot ${index + 1}, ${from}: ${name} ${shown[select.value][index]}`;
  };

  const draw = () => {
    const measured = values[select.value];
    const numbers = measured.filter((value) => value !== null);
    const [least, high] = [Math.min(...numbers), Math.max(...numbers)];
    const low = least - 0.25 * (high - least); // so that the lowest bar is one, too
    scale[0].textContent = numbers.length ? Number(high.toPrecision(3)) : "";
    scale[1].textContent = numbers.length ? Number(low.toPrecision(3)) : "";
    bars.forEach((bar, index) => {
      const value = measured[index];
      const share = value === null ? 0.08 : high > low ? (value - low) / (high - low) : 1;
      bar.firstChild.style.height = `${Math.max(2, 100 * share)}%`;
      bar.classList.toggle("none", value === null);
      bar.setAttribute("aria-label", tell(index));
    });
    output.textContent = current === null ? "" : tell(current);
  };

  const jump = (index) => {
    // Half a frame in, so that rounding does not show the last frame of the shot before.
    video.currentTime = (shots[index][0] + 0.5) / rate;
    mark();
  };

  let current = null;
  const mark = () => {
    const frame = video.currentTime * rate;
    playhead.style.left = percent(Math.min(frame, frames));
    const found = shots.findIndex(([first, stop]) => first <= frame && frame < stop);
    if (found === current || found < 0) return;
    if (current !== null) bars[current].removeAttribute("aria-current");
    bars[found].setAttribute("aria-current", "true");
    current = found;
    output.textContent = tell(current);
    const { offsetLeft, offsetWidth } = bars[found];
    const hidden = offsetLeft < strip.scrollLeft
      || offsetLeft + offsetWidth > strip.scrollLeft + strip.clientWidth;
    if (hidden) strip.scrollLeft = offsetLeft - strip.clientWidth / 3;
  };

  const go = (index) => {
    const to = Math.min(bars.length - 1, Math.max(0, index));
    for (const bar of bars) bar.tabIndex = -1;
    bars[to].tabIndex = 0;
    bars[to].focus();
  };
  place.addEventListener("keydown", (event) => {
    const at = Number(event.target.dataset.shot);
    const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: bars.length - 1 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    go(steps[event.key]);
  });
  const point = (event) => {
    const bar = event.target.closest(".shots button");
    if (bar) output.textContent = tell(Number(bar.dataset.shot));
  };
  place.addEventListener("pointerover", point);
  place.addEventListener("focusin", point);
  place.addEventListener("pointerleave", () => {
    if (current !== null) output.textContent = tell(current);
  });
  element.addEventListener("click", (event) => { // Enter on a button is a click
    const button = event.target.closest("button[data-shot]");
    if (!button) return;
    jump(Number(button.dataset.shot));
    if (!place.contains(button)) video.scrollIntoView({ block: "nearest" });
  });
  select.addEventListener("change", draw);
  video.addEventListener("timeupdate", mark);
  video.addEventListener("seeking", mark);
  draw();
}

// The values of a chart at the pointer, or where the arrow keys have gone.
function chart(figure) {
  const { x, y, left, right, last } = JSON.parse(figure.dataset.points);
  const svg = figure.querySelector("svg");
  const line = figure.querySelector(".readout");
  const keys = figure.querySelectorAll(".key b");
  const output = figure.querySelector("output");
  let at = x[0].length - 1;

  const show = () => {
    const place = left + ((right - left) * x[0][at]) / last;
    line.setAttribute("x1", place);
    line.setAttribute("x2", place);
    line.removeAttribute("hidden");
    keys.forEach((key, index) => {
      const value = y[index][at];
      key.textContent = value === null ? " –" : ` ${Number(value.toPrecision(4))}`;
    });
    output.textContent = `step ${x[0][at].toLocaleString("en")}`;
  };
  const hide = () => {
    line.setAttribute("hidden", "");
    keys.forEach((key) => { key.textContent = ""; });
    output.textContent = "";
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const step = ((place - left) / (right - left)) * last;
    at = x[0].reduce((best, other, index) =>
      Math.abs(other - step) < Math.abs(x[0][best] - step) ? index : best, 0);
    show();
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("focus", () => { if (svg.matches(":focus-visible")) show(); });
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const end = x[0].length - 1;
    const far = Math.max(1, Math.round(end / 50));
    const steps = { ArrowRight: at + far, ArrowLeft: at - far, Home: 0, End: end };
    if (!(event.key in steps)) return;
    event.preventDefault();
    at = Math.min(end, Math.max(0, steps[event.key]));
    show();
  });
}

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
