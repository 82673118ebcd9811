// MIDI controllers: a knob or key moves the parameter that has learnt it. The browser remembers.

import { $, press } from "./dom.js";
import { failure } from "./sources.js";

const CONTROL_CHANGE = 0xb0, NOTE_ON = 0x90, NOTE_OFF = 0x80, MAX_VALUE = 127;

export class Midi {
  // `apply(key, share)` sets a parameter; `say` is given sentences.
  constructor(name, apply, say) {
    Object.assign(this, { store: `midi:${name}`, apply, say, access: null, isLearning: false, learner: null, rows: new Map() });
    try {
      this.keys = JSON.parse(localStorage.getItem(this.store)) ?? {};
    } catch {
      this.keys = {};
    }
    if (Object.keys(this.keys).length) this.start();
    else this.report();
  }

  // Asks for the controllers. False, with a sentence, if there are none to ask for.
  async start() {
    try {
      if (!navigator.requestMIDIAccess) throw new Error("this browser has no WebMIDI: use Chrome, Edge or Firefox, or OSC");
      this.access ??= await navigator.requestMIDIAccess();
    } catch (error) {
      this.report(failure("MIDI cannot be used", error).message);
      return false;
    }
    const listen = () => {
      for (const input of this.access.inputs.values()) input.onmidimessage = ({ data }) => this.receive(data);
      this.report();
    };
    this.access.onstatechange = listen;
    listen();
    return true;
  }

  report(text) {
    const names = [...(this.access?.inputs.values() ?? [])].map((input) => input.name);
    $("midi").textContent = text ?? `MIDI: ${names.join(", ") || (this.access ? "no controller is connected" : "press “Learn MIDI” to use a controller")}.`;
    if (text) this.say(text);
  }

  // Learns for a parameter; without one, for the next that is moved. Again: stops.
  async learn(key = null) {
    this.isLearning = !(this.isLearning && key === this.learner) && (await this.start());
    this.learner = key;
    press("learn", this.isLearning);
    this.say(!this.isLearning ? $("midi").textContent : key ? `Move a knob for ${key}.` : "Move a slider, then a knob.");
  }

  // A parameter that the user moved.
  touched(key) {
    if (!this.isLearning || this.learner === key) return;
    this.learner = key;
    this.say(`Move a knob for ${key}.`);
  }

  receive([status, number, value = 0]) {
    const kind = status & 0xf0;
    if (![CONTROL_CHANGE, NOTE_ON, NOTE_OFF].includes(kind)) return;
    const source = `${kind === CONTROL_CHANGE ? "cc" : "note"} ${number} channel ${(status & 0x0f) + 1}`;
    if (this.isLearning && this.learner && kind !== NOTE_OFF) {
      this.keys[source] = this.learner;
      localStorage.setItem(this.store, JSON.stringify(this.keys));
      this.say(`${source} moves ${this.learner}.`);
      this.isLearning = false;
      this.learner = null;
      press("learn", false);
      this.label(this.rows);
    }
    if (this.keys[source]) this.apply(this.keys[source], kind === NOTE_OFF ? 0 : value / MAX_VALUE);
  }

  // Writes on each parameter's button which knob moves it.
  label(rows) {
    this.rows = rows;
    for (const row of rows.values()) row.midi.textContent = Object.keys(this.keys).find((source) => this.keys[source] === row.key) ?? "Learn MIDI";
  }
}
