// Inputs for the options of a control, which are fixed until they are changed: layers, features, times.

import { element } from "./dom.js";

function choice(choices, value, changed) {
  const select = element("select", {}, ...choices.map((name) => element("option", { value: name }, name)));
  select.value = value ?? choices[0];
  select.addEventListener("change", () => changed(select.value));
  return select;
}

function number(value, changed, properties = {}) {
  const input = element("input", { type: "number", value: value ?? "", ...properties });
  input.addEventListener("change", () => input.value !== "" && changed(Number(input.value)));
  return input;
}

// Which features of a layer: all, a random share, or a cluster of features that fire alike.
function features(value, changed) {
  const kind = typeof value === "object" && value ? ("cluster" in value ? "cluster" : "share") : "all";
  const starts = { all: "all", share: { share: 0.3, seed: 1 }, cluster: { cluster: 1 } };
  const inputs = kind === "all" ? [] : Object.keys(starts[kind]).map((name) =>
    element("label", {}, ` ${name} `, number(value[name], (next) => changed({ ...value, [name]: next }), name === "share" ? { min: 0, max: 1, step: 0.05 } : { min: 0, step: 1 })));
  return element("span", {}, choice(Object.keys(starts), kind, (next) => changed(starts[next])), ...inputs);
}

// An input for an option; `changed` is given its new value.
export function optionInput(name, { kind, low, high }, value, hello, changed) {
  const limits = (step) => ({ step, ...(low == null ? {} : { min: low }), ...(high == null ? {} : { max: high }) });
  if (kind === "layer") return choice(Object.keys(hello.layers ?? {}), value, changed);
  if (kind === "features") return features(value, changed);
  if (kind === "whole") return number(value, changed, limits(1));
  if (kind === "seconds") return number(value, changed, limits("any"));
  const input = element("input", { type: "text", value: value ?? "" });
  input.addEventListener("change", () => changed(input.value));
  return input;
}
