// The page: sources go to the server, results come back to the stage, controls change what is between.

import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { $, acceptDrops, attempt, clock, connectButtons, element, press, say, toggleFullScreen } from "./dom.js";
import { FilmMap, makeShots } from "./film_map.js";
import { ENCODINGS, FrameSender } from "./frames.js";
import { Library } from "./library.js";
import { Midi } from "./midi.js";
import { LEVELS, Listener, SoundRecorder } from "./sound.js";
import { openCamera, openFile, openScreen } from "./sources.js";
import { LOOKS, Stage } from "./stage.js";

const MAX_SOUND_DRIFT = 0.15; // s, between the stage and the film's sound
const COMPILING = "The controls are being compiled; the show goes on without the change.";
// Raw pictures are fastest on this machine; over a network they would need too much of it.
const isLocal = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
const wanted = new URLSearchParams(location.search).get("picture"); // ?picture=webp
const encoding = ENCODINGS.includes(wanted) ? wanted : isLocal ? "rgba" : "webp";

let hello = null;
let state = { source: {}, controls: [], presets: [], recordings: [], compiling: false };
let stage, controls, library, midi, sender, map, listener, soundRecorder;
let markShot = () => {};
let source = null; // of this page: camera, screen or file
let lost = null; // the controls when the connection was lost, as a preset
let showSeconds = 0; // of the show's clock, which starts at 0 with the server
let isOwn = false; // whether the server takes this page's frames
let look = localStorage.getItem("look") ?? LOOKS[0];

const send = (type, fields) => connection.send(type, fields);

// Sources

function setSource(next) {
  source?.close();
  source = next;
  isOwn = false;
  stage.isInputOwn = Boolean(source);
  sender.isFrozen = false;
  sender.start(source);
  if (source) send("source", { kind: "page" });
  showSource();
}

// Opens a source; the show goes on with the one it has if that fails.
const start = (opening) => attempt(async () => setSource(await opening()));

function ended() {
  setSource(null);
  say("The source has ended; its last frame stays.");
}

function playOnServer(kind) {
  setSource(null);
  send("source", { kind });
  say("");
  if (kind !== "film" || !hello.film?.sound) return;
  $("film-sound").src = "sound";
  $("film-sound").play().catch(() => {}); // the browser may want a click first; syncSound tries again
}

// A dropped or chosen file: a preset, a film or a picture.
async function openAny(file) {
  if (!file) return;
  if (/\.ya?ml$/i.test(file.name)) library.loadFile(file);
  else await start(() => openFile(file));
}

function freeze() {
  if (source) {
    sender.isFrozen = !sender.isFrozen;
    sender.offer();
  } else send("play", { playing: !state.source.playing });
  showSource();
}

function showSource() {
  const kind = source ? source.kind : state.source.kind;
  for (const [id, name] of Object.entries({ camera: "camera", screen: "screen", open: "file", film: "film", walk: "walk" })) press(id, kind === name);
  press("freeze", source ? sender.isFrozen : state.source.playing === false);
  if (kind !== "film") $("film-sound").pause();
  if (kind === "walk" || kind === "moment") stage.clearInput();
}

// Keeps the film's sound with the stage.
function syncSound(seconds) {
  const sound = $("film-sound");
  const plays = !source && state.source.kind === "film" && state.source.playing && Number.isFinite(seconds);
  if (!sound.getAttribute("src")) return;
  if (plays && Math.abs(sound.currentTime - seconds) > MAX_SOUND_DRIFT && sound.readyState) sound.currentTime = seconds;
  if (plays && sound.paused) sound.play().catch(() => {});
  if (!plays && !sound.paused) sound.pause();
}

// Actions of buttons and keys

const actions = {
  camera: () => start(() => openCamera(ended, source?.kind === "camera")),
  screen: () => (source?.kind === "screen" ? setSource(null) : start(() => openScreen(ended))),
  open: () => $("file").click(),
  film: () => playOnServer("film"),
  walk: () => playOnServer("walk"),
  freeze,
  look: () => setLook(LOOKS[(LOOKS.indexOf(look) + 1) % LOOKS.length]),
  big: toggleFullScreen,
  hide: () => press("hide", document.body.classList.toggle("alone")),
  record,
  reset: () => send("reset"),
  random: () => send("random"),
  clear: () => send("clear"),
  learn: () => midi.learn(),
};

function setLook(name) {
  try {
    stage.setLook(name);
    look = name;
  } catch (error) {
    say(error.message);
    stage.setLook((look = LOOKS[0]));
  }
  $("look").textContent = look[0].toUpperCase() + look.slice(1);
  localStorage.setItem("look", look);
}

async function record() {
  if (state.recording) {
    await soundRecorder?.stop();
    soundRecorder = null;
    return send("record", { on: false });
  }
  const sound = $("record-sound").value;
  if (sound === "page" && !listener) return say("The page hears nothing: choose what it hears under “Sound that drives the controls”.");
  send("record", { on: true, sound });
  if (sound === "page") soundRecorder = new SoundRecorder(listener.stream, (number, bytes) => connection.sendSound(number, bytes));
}

async function hear() {
  const kind = $("hear").value;
  listener?.close();
  listener = null;
  $("levels").hidden = true;
  try {
    if (!kind) return;
    const opened = await Listener.open(kind, source, heard);
    listener = opened;
    $("levels").hidden = false;
  } catch (error) {
    $("hear").value = "";
    say(error.message);
  }
}

function heard(levels) {
  send("sound", levels);
  for (const meter of $("levels").querySelectorAll("meter")) meter.value = levels[meter.id.slice("level-".length)];
}

// What the server says

const messages = {
  hello(message) {
    const last = hello;
    hello = message;
    const shape = ({ name, model, film, catalogue, layers }) => JSON.stringify([name, model, film?.name, catalogue, layers]);
    if (last && shape(last) !== shape(hello)) return location.reload(); // the server opened another run
    if (!last) build();
    stage.restart();
    isOwn = false;
    send("format", { picture: encoding, source: true });
    if (source) {
      source.drawn = -1; // a still picture is sent again
      send("source", { kind: "page" });
    }
    say(last ? "Connected again." : "Start the camera, share a screen, or drop a film or a picture here.");
    document.body.dataset.state = "ready";
  },
  state(message) {
    if (message.compiling !== state.compiling) say(message.compiling ? COMPILING : $("message").textContent.replace(COMPILING, ""));
    if (soundRecorder && state.recording && !message.recording) {
      soundRecorder.stop(); // another page ended the recording
      soundRecorder = null;
    }
    state = message;
    if (state.source.own) isOwn = true;
    else if (isOwn && source) {
      setSource(null);
      say("Another page or a click on the film chose the source.");
    }
    controls.update(state.controls);
    showSource();
    library.update(state);
  },
  map(message) {
    if (map) return;
    map = new FilmMap($("map"), message, (x, y) => send("point", { x, y }));
    showShots();
  },
  codes: ({ done }) => say(done < 1 ? `The film is being encoded: ${Math.round(100 * done)}%.` : ""),
  set: (message) => controls.set(message),
  values: ({ values }) => controls.showValues(values),
  meter({ rate, latency_ms, dropped, pages, seconds }) {
    // A server that started again gets the controls back.
    if (lost && seconds < showSeconds) send("load_text", { text: JSON.stringify(lost), seconds: 0 });
    [lost, showSeconds] = [null, seconds];
    $("rate").textContent = `${rate.toFixed(1)} frames/s`;
    $("latency").textContent = latency_ms == null ? "– ms" : `${Math.round(latency_ms)} ms`;
    $("dropped").textContent = `${dropped} dropped${pages > 1 ? ` · ${pages} pages` : ""}`;
  },
  recorded: ({ name, seconds }) => say(`Recorded ${name}, ${seconds.toFixed(1)} s.`),
  error: ({ message }) => say(message),
};

const connection = new Connection(new URL("ws", location.href.replace("http", "ws")).href, {
  text: (message) => messages[message.type]?.(message),
  picture(picture) {
    if (!stage) return;
    stage.receive(picture);
    sender.offer();
  },
  closed() {
    if (soundRecorder) soundRecorder.stop();
    soundRecorder = null;
    lost ??= controls?.preset() ?? null;
    document.body.dataset.state = "closed";
    say("The server does not answer. The page connects again as soon as it does.");
  },
});

function shown({ captured, seconds }, number) {
  send("shown", { number, ...(isOwn && captured ? { latency_ms: performance.now() - captured } : {}) });
  const isFilm = !source && Number.isFinite(seconds);
  $("moment").textContent = isFilm ? `${hello.film?.name ?? "film"} ${clock(seconds)}` : "";
  map?.mark(isFilm ? seconds : NaN);
  markShot(isFilm ? seconds : NaN);
  syncSound(seconds);
}

function showShots() {
  // The film starts at a shot; a single code is best taken from its middle.
  markShot = makeShots($("shots"), hello.shots ?? [], Boolean(map), ({ time, seconds }) => {
    const isFilm = state.source.kind === "film" && !source;
    setSource(null);
    send("go", { time: isFilm ? time : time + seconds / 2 });
  });
}

function build() {
  const { name, runs, model, film, osc } = hello;
  document.title = `${name}: live`;
  $("title").textContent = runs.join(" + ").replaceAll("_", " ");
  $("facts").textContent = `${model.width}×${model.height} pixels · ${model.networks} networks · step ${model.step}`;
  stage = new Stage(model.width, model.height, shown);
  sender = new FrameSender(connection, stage.contexts.input, encoding, say);
  midi = new Midi(name, (key, share) => controls.setShare(key, share), say);
  library = new Library(send, say, hello);
  controls = new Controls($("groups"), hello, send, midi);
  $("film").disabled = !film?.there;
  $("film").title = film && !film.there ? "The film’s file is missing." : "";
  $("walk").disabled = !film;
  showShots();
  $("levels").append(...LEVELS.map((level) => element("label", {}, `${level} `, element("meter", { id: `level-${level}`, max: 1 }))));
  $("osc").textContent = osc?.listens ? `OSC arrives at ${osc.listens}${osc.sends ? ` and goes to ${osc.sends}` : ""}; “⋯” beside a slider shows its address.` : "OSC is off.";
  setLook(LOOKS.includes(look) ? look : LOOKS[0]);
  listen();
}

function listen() {
  connectButtons(actions, (key) => key >= "1" && key <= "9" && library.load(state.presets[key - 1]));
  acceptDrops(openAny);
  $("file").addEventListener("change", () => openAny($("file").files[0]).then(() => ($("file").value = "")));
  $("hear").addEventListener("change", hear);
}
