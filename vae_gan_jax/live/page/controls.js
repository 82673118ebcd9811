// The controls of the show: a group for each stage, a card for each control, a row for each parameter.

import { button, element } from "./dom.js";
import { optionInput } from "./options.js";
import { LEVELS } from "./sound.js";

const STAGES = { codes: "Latent code", bend: "Network bending", picture: "Picture", model: "Models" };
const SLIDER_STEPS = 200;
const WAVE_SECONDS = 4; // of a new wave's period

const UNITS = { "standard deviations": "σ", degrees: "°", seconds: "s", times: "×", share: "", "root mean squares of the layer": "rms", "pixels of the layer": "px", widths: "w", heights: "h", patterns: "" };

// The first value of an option that has no default.
const REQUIRED = {
  time: () => "0:00",
  // A layer in the middle of the decoder, whose features are objects more than pixels.
  layer({ layers }) {
    const names = Object.keys(layers);
    const decoder = names.filter((name) => name.startsWith("decoder/"));
    return decoder[decoder.length >> 1] ?? names[0];
  },
};

const words = (name) => name.replaceAll("_", " ");

// What a control is called: its number if there are several, and where it acts.
function title({ id, control, options }) {
  if (options.component) return `${words(control)} ${options.component}`;
  return words(id.replace(/_1$/, "")) + (options.layer ? ` · ${options.layer}` : "");
}

// A parameter: its slider, number and what drives it. `key` is "control/parameter".
class Row {
  constructor(id, name, label, parameter, owner) {
    const { low, high, slider, neutral, unit, about, address } = parameter;
    const [min, max] = slider ?? [low, high];
    const step = (max - min) / SLIDER_STEPS;
    Object.assign(this, { id, name, key: `${id}/${name}`, owner, min, max, step, neutral });
    this.slider = element("input", { type: "range", min, max, step, id: this.key, title: about ?? "" });
    this.number = element("input", { type: "number", min: low, max: high, step: "any", "aria-label": `${label}, ${unit || "number"}` });
    this.slider.addEventListener("input", () => this.change(Number(this.slider.value)));
    this.number.addEventListener("change", () => this.number.value !== "" && this.change(Number(this.number.value)));
    const caption = element("label", { for: this.key, title: `${about ?? ""} Double-click: reset.` }, label);
    caption.addEventListener("dblclick", () => owner.send("reset", { id, parameter: name }));
    this.extra = element("div", { className: "extra", hidden: true });
    this.more = button("⋯", () => this.open(this.extra.hidden), { "aria-label": `More about ${label}`, "aria-expanded": false });
    this.node = element("div", { className: "row" }, caption, this.slider, this.number, element("span", { className: "quiet", title: unit ?? "" }, UNITS[unit] ?? unit ?? ""), this.more, this.extra);
    this.fill(about, address);
  }

  fill(about, address) {
    const { id, name } = this;
    const choice = (value, text) => element("option", { value }, text);
    this.driver = element("select", {}, choice("", "by hand"), choice("wave", "a sine"), ...LEVELS.map((level) => choice(level, `sound: ${level}`)));
    const number = (step) => element("input", { type: "number", step: step ?? "any" });
    this.ends = { from: number(), to: number(), wave: number() };
    this.wave = element("label", {}, "period ", this.ends.wave, " s");
    this.between = element("span", {}, element("label", {}, "from ", this.ends.from), " ", element("label", {}, "to ", this.ends.to));
    for (const input of [this.driver, ...Object.values(this.ends)]) input.addEventListener("change", () => this.drive());
    this.midi = button("Learn MIDI", () => this.owner.midi.learn(this.key), { className: "small" });
    this.extra.append(
      ...(about ? [element("p", { className: "note" }, about)] : []),
      element("p", { className: "line" }, element("label", {}, "Moved ", this.driver), this.between, this.wave),
      element("p", { className: "line" }, button("Reset", () => this.owner.send("reset", { id, parameter: name }), { className: "small" }),
        button("Random", () => this.owner.send("random", { id, parameter: name }), { className: "small" }), this.midi),
      element("p", { className: "note" }, "OSC ", element("code", {}, address ?? `/${this.key}`)));
  }

  open(on) {
    this.extra.hidden = !on;
    this.more.setAttribute("aria-expanded", on);
  }

  // A value from the user.
  change(value) {
    if (Math.abs(value - this.neutral) < this.step / 2) value = this.neutral; // sums of steps are not exact
    this.owner.send("set", { id: this.id, parameter: this.name, value });
    this.show(value);
    this.setCurve(null);
    this.owner.midi.touched(this.key);
  }

  drive() {
    const kind = this.driver.value;
    const [from, to] = [Number(this.ends.from.value), Number(this.ends.to.value)];
    if (kind === "keys") return;
    const others = this.kind === kind ? this.curve : {}; // such as smooth and decay
    const curve = { ...others, from, to, ...(kind === "wave" ? { wave: Number(this.ends.wave.value) || WAVE_SECONDS } : { sound: kind }) };
    this.owner.send("set", { id: this.id, parameter: this.name, ...(kind ? { curve } : { value: Number(this.number.value) }) });
    this.setCurve(kind ? curve : null);
  }

  // A value from the server.
  show(value) {
    if (value == null) return; // a curve moves it
    this.value = value;
    this.slider.value = value;
    if (document.activeElement !== this.number) this.number.value = Number(value.toFixed(this.max - this.min > 2 ? 2 : 3));
  }

  setCurve(curve) {
    const kind = !curve ? "" : "keys" in curve ? "keys" : "wave" in curve ? "wave" : curve.sound;
    Object.assign(this, { curve, kind });
    this.driver.querySelector("[value=keys]")?.remove();
    if (kind === "keys") this.driver.append(element("option", { value: "keys" }, "keyframes"));
    this.driver.value = kind;
    this.node.classList.toggle("driven", Boolean(curve));
    this.between.hidden = !kind || kind === "keys";
    this.wave.hidden = kind !== "wave";
    const ends = { from: this.min, to: this.max, wave: WAVE_SECONDS, ...curve };
    for (const [name, input] of Object.entries(this.ends)) if (document.activeElement !== input) input.value = ends[name];
  }
}

// A control: its options and rows.
class Card {
  constructor(control, owner) {
    const { id, options, parameters } = control;
    const kinds = owner.hello.catalogue[control.control]?.options ?? {};
    const tools = { className: "small" };
    const [move, name] = [(by) => owner.move(control, by), title(control)];
    const inputs = Object.entries(kinds).map(([option, kind]) =>
      element("label", { title: kind.about ?? "" }, `${words(option)} `,
        optionInput(option, kind, options[option] ?? kind.default, owner.hello, (value) => owner.send("options", { id, options: { ...options, [option]: value } }))));
    const names = Object.keys(parameters);
    this.rows = names.map((parameter) => new Row(id, parameter, names.length > 1 ? words(parameter) : name, parameters[parameter], owner));
    const settings = element("div", { className: "options line" }, ...inputs,
      button("↑", () => move(-1), { ...tools, "aria-label": `Move ${name} up` }), button("↓", () => move(1), { ...tools, "aria-label": `Move ${name} down` }),
      ...(names.length > 1 ? [button("Reset", () => owner.send("reset", { id }), tools), button("Random", () => owner.send("random", { id }), tools)] : []),
      button("Remove", () => owner.send("remove", { id }), tools));
    // One parameter: the control is one row, and the row's details have its options.
    if (names.length === 1) this.rows[0].extra.append(settings);
    this.node = names.length === 1
      ? this.rows[0].node
      : element("details", { className: "card" }, element("summary", {}, name), settings, ...this.rows.map((row) => row.node));
    if (names.length > 1) this.node.open = true;
  }
}

export class Controls {
  constructor(root, hello, send, midi) {
    Object.assign(this, { hello, send, midi, cards: new Map(), rows: new Map(), groups: {}, order: [] });
    const present = new Set([...Object.values(hello.catalogue).map(({ stage }) => stage), ...(hello.runs.length > 1 ? ["model"] : [])]);
    for (const stage of Object.keys(STAGES).filter((name) => present.has(name))) {
      const list = element("div", { className: "list" });
      const ids = () => this.order.filter((control) => control.stage === stage).map(({ id }) => id);
      const all = (type) => () => ids().forEach((id) => send(type, { id }));
      const heading = stage === "model" && hello.runs.length > 1 ? `${STAGES.model}: ${hello.runs.join(" and ")}` : STAGES[stage];
      const tools = element("p", { className: "line" }, this.adder(stage), button("Reset", all("reset"), { className: "small", "aria-label": `Reset: ${heading}` }),
        button("Random", all("random"), { className: "small", "aria-label": `Random: ${heading}` }));
      this.groups[stage] = list;
      root.append(element("details", { className: "group", open: true }, element("summary", {}, heading), list, tools));
    }
  }

  adder(stage) {
    const names = Object.entries(this.hello.catalogue).filter(([, control]) => control.stage === stage);
    if (!names.length) return "";
    const select = element("select", { "aria-label": `Add to: ${STAGES[stage]}`, className: "small" }, element("option", { value: "" }, "Add…"),
      ...names.map(([name, { about }]) => element("option", { value: name, title: about ?? "" }, words(name))));
    select.addEventListener("change", () => {
      const options = {};
      for (const [option, { kind, default: usual }] of Object.entries(this.hello.catalogue[select.value].options ?? {}))
        if (usual == null && kind in REQUIRED) options[option] = REQUIRED[kind](this.hello);
      this.send("add", { control: select.value, options });
      select.value = "";
    });
    return select;
  }

  // The controls as the server has them. A card whose structure stays the same stays, with its focus.
  update(controls) {
    const cards = new Map();
    this.order = controls;
    this.rows.clear();
    for (const control of controls) {
      const signature = JSON.stringify([control.id, control.options, Object.entries(control.parameters).map(([name, { low, high }]) => [name, low, high])]);
      const card = this.cards.get(signature) ?? new Card(control, this);
      cards.set(signature, card);
      for (const row of card.rows) {
        this.rows.set(row.key, row);
        const { value, curve } = control.parameters[row.name];
        row.show(value);
        row.setCurve(curve);
      }
    }
    this.cards = cards;
    for (const [stage, list] of Object.entries(this.groups)) {
      const nodes = [...cards.values()].filter((_, index) => controls[index].stage === stage).map(({ node }) => node);
      if (nodes.length !== list.children.length || nodes.some((node, index) => node !== list.children[index])) list.replaceChildren(...nodes);
    }
    this.midi.label(this.rows);
  }

  // The controls as a preset has them; null if all are off.
  preset() {
    const rows = [...this.rows.values()];
    if (rows.every((row) => !row.curve && row.value === row.neutral)) return null;
    const plain = ({ id, control, options, parameters }) => {
      const values = Object.keys(parameters).map((name) => [name, this.rows.get(`${id}/${name}`)]).map(([name, row]) => [name, row.curve ?? row.value]);
      return { control, ...options, ...Object.fromEntries(values) };
    };
    return { controls: this.order.map(plain) };
  }

  set({ id, parameter, value, curve }) {
    const row = this.rows.get(`${id}/${parameter}`);
    row?.show(value);
    row?.setCurve(curve ?? null);
  }

  // What parameters with curves are now.
  showValues(values) {
    for (const [id, parameters] of Object.entries(values)) for (const [name, value] of Object.entries(parameters)) this.rows.get(`${id}/${name}`)?.show(value);
  }

  // A value from a MIDI controller, 0 to 1 of the parameter's range.
  setShare(key, share) {
    const row = this.rows.get(key);
    row?.change(row.min + share * (row.max - row.min));
  }

  move(control, by) {
    const ids = this.order.filter(({ stage }) => stage === control.stage).map(({ id }) => id);
    const to = ids.indexOf(control.id) + by;
    if (to >= 0 && to < ids.length) this.send("move", { id: control.id, to });
  }
}
