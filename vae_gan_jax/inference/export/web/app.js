// The page: a source's frame becomes a latent code, the controls move the code, and the decoder
// draws it.

import { $, acceptDrops, attempt, button, clock, connectButtons, element, moveByArrows, press, say, toggleFullScreen } from "./dom.js";
import { openFilm } from "./film.js";
import { fetchBytes, openModel } from "./model.js";
import { Recorder } from "./recorder.js";
import { openCamera, openFile, openScreen } from "./sources.js";

const SLIDERS = 12; // at most
const SLIDER_RANGE = 3; // standard deviations
const SHOTS = 24; // at most; of a film with more, evenly spaced ones

const input = $("input").getContext("2d", { willReadFrequently: true });
const output = $("output").getContext("2d");
let model, film, recorder;
let source = null;
let code = null; // the latent code before the controls move it
let shown = null; // the code on the canvas
let walkTime = 0; // s
let amounts = []; // of the sliders, standard deviations
let changed = true; // whether a control has moved since the last frame
const switches = { walk: false, freeze: false, nearest: false };

function note(text) {
  $("notes").append(element("li", {}, text));
}

function setSwitch(name, on) {
  switches[name] = on;
  press(name, on);
  changed = true;
  if (source && !on) source.drawn = -1; // a still picture comes back
}

function setSource(next) {
  source?.close();
  source = next;
  for (const [id, kind] of [["camera", "camera"], ["screen", "screen"], ["open", "file"]])
    press(id, source?.kind === kind);
  if (!source) return;
  setSwitch("walk", false);
  setSwitch("freeze", false);
  $("moment").textContent = "";
}

// Opens a source; the page goes on with the one it has if that fails.
const start = (opening) => attempt(async () => setSource(await opening()));

function ended() {
  setSource(null);
  say("The source has ended.");
}

const actions = {
  camera: () => start(() => openCamera(ended, source?.kind === "camera")),
  screen: () => (source?.kind === "screen" ? setSource(null) : start(() => openScreen(ended))),
  open: () => $("file").click(),
  walk: () => setSwitch("walk", !switches.walk),
  freeze: () => setSwitch("freeze", !switches.freeze),
  nearest: () => setSwitch("nearest", !switches.nearest),
  record,
  big: toggleFullScreen,
  reset: () => {
    for (const slider of document.querySelectorAll("#sliders input")) setSlider(slider, 0);
  },
};

async function record() {
  const current = recorder;
  recorder = null;
  press("record", !current);
  try {
    if (!current) {
      recorder = new Recorder($("output"));
      return say("Recording…");
    }
    const recording = await current.stop();
    const size = `${(recording.bytes / 1e6).toFixed(1)} MB`;
    const link = element("a", { href: recording.address, download: recording.name }, `${recording.name}, ${size}`);
    $("recording").replaceChildren("Recorded: ", link);
    $("recording").hidden = false;
    link.click();
    say("");
  } catch (error) {
    press("record", false);
    say(error.message);
  }
}

function setSlider(slider, value) {
  slider.value = value;
  slider.dispatchEvent(new Event("input"));
}

function makeSliders() {
  film.directions.slice(0, SLIDERS).forEach((_, number) => {
    const row = document.createElement("p");
    row.className = "slider";
    row.innerHTML = `<label for="direction${number}">${number + 1}</label>
      <input type="range" id="direction${number}" aria-label="Direction ${number + 1}" min="${-SLIDER_RANGE}" max="${SLIDER_RANGE}" step="0.05" value="0">
      <output for="direction${number}">0.00 σ</output>`;
    const [label, slider, text] = row.children;
    label.title = "Double-click: back to 0";
    label.addEventListener("dblclick", () => setSlider(slider, 0));
    slider.addEventListener("input", () => {
      amounts[number] = Number(slider.value);
      text.textContent = `${amounts[number] > 0 ? "+" : ""}${amounts[number].toFixed(2)} σ`;
      changed = true;
    });
    amounts.push(0);
    $("sliders").append(row);
  });
  $("directions").hidden = false;
}

// A button with a thumbnail for each shot.
async function makeShots() {
  const all = film.shots;
  const shots = all.filter((_, index) => index % Math.ceil(all.length / SHOTS) === 0);
  const buttons = shots.map(({ time, code: shotCode }) => {
    const thumbnail = element("canvas", { width: model.width, height: model.height });
    const show = () => {
      walkTime = time;
      code = shotCode;
      $("moment").textContent = `moment of the film: ${clock(time)}`;
      if (!switches.walk) setSwitch("freeze", true);
      changed = true;
    };
    const made = button(thumbnail, show, { "aria-label": `The shot at ${clock(time)}` });
    made.append(clock(time));
    return made;
  });
  $("shots").append(...buttons);
  moveByArrows($("shots"), buttons);
  $("film").hidden = false;
  for (const [index, { code: shotCode }] of shots.entries()) {
    const picture = await model.decode(shotCode);
    buttons[index].firstChild.getContext("2d").putImageData(picture, 0, 0);
  }
}

// The code of this moment before the sliders; null without a source.
async function nextCode(seconds) {
  if (switches.freeze && code) return code;
  if (switches.walk) {
    walkTime += seconds * Number($("pace").value);
    const wrapped = ((walkTime % film.duration) + film.duration) % film.duration;
    $("moment").textContent = `moment of the film: ${clock(wrapped)}`;
    return film.at(walkTime);
  }
  if (!source?.fresh) return code;
  source.draw(input);
  const { data } = input.getImageData(0, 0, model.width, model.height);
  return model.encode(data);
}

function same(first, second) {
  return first && first.every((value, axis) => value === second[axis]);
}

async function showFrame(seconds) {
  const before = code;
  const next = await nextCode(seconds);
  code = code === before ? next : code; // a click on a shot meanwhile takes precedence
  if (!code || (code === before && !changed)) return false;
  changed = false;
  let moved = code;
  if (switches.nearest && !switches.walk) {
    const moment = film.nearest(code);
    moved = moment.code;
    $("moment").textContent = `nearest moment of the film: ${clock(moment.time)}`;
  } else if (!switches.walk && !switches.freeze) $("moment").textContent = "";
  if (film) moved = film.moved(moved, amounts);
  if (same(shown, moved)) return false;
  output.putImageData(await model.decode(moved), 0, 0);
  shown = moved;
  recorder?.draw();
  return true;
}

async function run() {
  let [last, count, since] = [performance.now(), 0, performance.now()];
  for (;;) {
    const now = await new Promise(requestAnimationFrame);
    const seconds = Math.min(0.5, (now - last) / 1000); // a page in the background stands still
    last = now;
    try {
      count += await showFrame(seconds);
    } catch (error) {
      say(error.message);
      setSource(null);
      setSwitch("walk", false);
      code = null;
    }
    if (now - since > 1000) {
      $("speed").textContent = `${((1000 * count) / (now - since)).toFixed(1)} frames/s`;
      [count, since] = [0, now];
    }
  }
}

function listen() {
  connectButtons(actions);
  acceptDrops((file) => start(() => openFile(file)));
  $("file").addEventListener("change", () => $("file").files[0] && start(() => openFile($("file").files[0])));
  $("pace").addEventListener("input", () => ($("pace").nextElementSibling.textContent = `${Number($("pace").value).toFixed(2)}×`));
}

async function main() {
  const config = JSON.parse(new TextDecoder().decode(await fetchBytes("config.json")));
  for (const { canvas } of [input, output]) [canvas.width, canvas.height] = [config.width, config.height];
  model = await openModel(config, say, note);
  $("backend").textContent = `· ${model.name} · ${model.width}×${model.height}`;
  try {
    film = await openFilm(config);
  } catch (error) {
    note(`There are no sliders, walk and nearest moments: ${error.message}`);
  }
  const ids = ["camera", "screen", "open", "record", "big", ...(film ? ["walk", "nearest"] : []), "freeze"];
  for (const id of ids) $(id).disabled = false;
  listen();
  if (film) {
    makeSliders();
    makeShots();
    code = film.at(0);
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) setSwitch("walk", true);
  }
  say("Start the camera, share a screen, or drop a film or a picture here.");
  document.body.dataset.state = "ready";
  run();
}

main().catch((error) => {
  say(error.message);
  document.body.dataset.state = "failed";
});
