// Presets, recordings and outputs: what the run's folder holds, and where the show goes.

import { $, button, element, press } from "./dom.js";

const MAX_PRESET_BYTES = 60_000;
const MAX_PRESET_KEYS = 9;

const link = (folder, name, properties) => element("li", {}, element("a", { href: `${folder}/${encodeURIComponent(name)}`, ...properties }, name));

export class Library {
  constructor(send, say, { outputs = [], shipped = [] }) {
    Object.assign(this, { send, say, presets: [], names: null });
    $("preset-name").addEventListener("input", () => this.labelSave());
    $("save").addEventListener("submit", (event) => {
      event.preventDefault();
      send("save", { name: this.name, replace: this.presets.includes(this.name) });
    });
    $("shipped").append(...["", ...shipped].map((name) => element("option", {}, name)));
    $("shipped").addEventListener("change", () => this.load($("shipped").value));
    $("outputs").replaceChildren(...outputs.map(({ name, there, about }) => {
      const isOn = () => toggle.getAttribute("aria-pressed") === "true";
      const toggle = button(name, () => send("output", { name, on: !isOn() }), { value: name, "aria-pressed": false, disabled: !there });
      return element("p", { className: "line" }, toggle, element("span", { className: "note" }, about ?? ""));
    }));
  }

  get name() {
    return $("preset-name").value.trim();
  }

  get fade() {
    return Number($("fade").value);
  }

  load(name) {
    if (name) this.send("load", { name, seconds: this.fade });
  }

  async loadFile(file) {
    if (file.size > MAX_PRESET_BYTES) return this.say(`${file.name} is too large for a preset.`);
    this.send("load_text", { text: await file.text(), seconds: this.fade });
  }

  labelSave() {
    $("save-button").textContent = this.presets.includes(this.name) ? "Replace" : "Save";
  }

  update({ preset, presets, fading, recording, recordings, outputs }) {
    for (const toggle of $("outputs").querySelectorAll("button")) toggle.setAttribute("aria-pressed", outputs.includes(toggle.value));
    const names = JSON.stringify([presets, recordings]);
    this.presets = presets;
    if (names !== this.names) {
      this.names = names;
      const label = (name, index) => (index < MAX_PRESET_KEYS ? `${index + 1} ${name}` : name);
      $("preset-buttons").replaceChildren(...presets.map((name, index) => button(label(name, index), () => this.load(name), { value: name })));
      $("preset-files").replaceChildren(...presets.map((name) => link("presets", `${name}.yaml`, { download: `${name}.yaml` })));
      $("recordings").replaceChildren(...recordings.map((name) => link("recordings", name, { target: "_blank" })));
    }
    $("shipped").value = preset && !preset.changed && !presets.includes(preset.name) ? preset.name : "";
    for (const made of $("preset-buttons").children) made.setAttribute("aria-pressed", made.value === preset?.name && !preset.changed);
    $("fading").hidden = !fading;
    $("fading").value = fading;
    this.labelSave();
    press("record", recording);
    $("record").textContent = recording ? "Stop" : "Record";
  }
}
