// The film's latent codes, read from codes.npz: moments, shots and principal directions.

import { fetchBytes } from "./model.js";

// The arrays of an uncompressed .npz file by name, each { shape, data }.
export function readNpz(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = (start, length) => String.fromCharCode(...bytes.subarray(start, start + length));
  let end = bytes.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) throw new Error("codes.npz is damaged: it has no directory.");
  const arrays = {};
  let entry = view.getUint32(end + 16, true);
  for (let count = view.getUint16(end + 10, true); count > 0; count--) {
    const nameLength = view.getUint16(entry + 28, true);
    const name = text(entry + 46, nameLength).replace(/\.npy$/, "");
    if (view.getUint16(entry + 10, true) !== 0) throw new Error("codes.npz is compressed.");
    const local = view.getUint32(entry + 42, true);
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    arrays[name] = readNpy(bytes.slice(start, start + view.getUint32(entry + 20, true)), text);
    entry += 46 + nameLength + view.getUint16(entry + 30, true) + view.getUint16(entry + 32, true);
  }
  return arrays;
}

function readNpy(bytes) {
  const view = new DataView(bytes.buffer);
  const wide = bytes[6] > 1; // version 1 has two bytes for the header's length, later ones four
  const start = wide ? 12 : 10;
  const stop = start + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder().decode(bytes.subarray(start, stop));
  const shape = header.match(/'shape': \(([^)]*)\)/)[1].split(",").filter((part) => part.trim()).map(Number);
  const type = header.match(/'descr': '([^']*)'/)[1];
  const body = bytes.buffer.slice(stop);
  const readers = {
    "<f4": () => new Float32Array(body),
    "<f8": () => Float32Array.from(new Float64Array(body)),
    "<i4": () => Float32Array.from(new Int32Array(body)),
    "<i8": () => Float32Array.from(new BigInt64Array(body), Number),
  };
  return { shape, data: readers[type]?.() ?? null }; // text is of no use here
}

function rows({ shape: [count, width], data }) {
  return Array.from({ length: count }, (_, row) => data.subarray(row * width, (row + 1) * width));
}

// The film of the export. Throws if codes.npz is missing, damaged or of another model.
export async function openFilm({ z_dim }) {
  const arrays = readNpz(await fetchBytes("codes.npz"));
  for (const name of ["codes", "code_times", "directions", "deviations", "shot_starts", "seconds"])
    if (!arrays[name]?.data) throw new Error(`codes.npz lacks ${name}.`);
  if (arrays.codes.shape[1] !== z_dim) throw new Error("codes.npz belongs to another model.");
  return new Film(arrays);
}

class Film {
  constructor(arrays) {
    this.codes = rows(arrays.codes);
    this.times = arrays.code_times.data; // seconds
    this.directions = rows(arrays.directions);
    this.deviations = arrays.deviations.data;
    this.duration = arrays.seconds.data[0];
    this.starts = arrays.shot_starts.data; // of the shots
  }

  // A moment in the middle of each shot: { time, code }.
  get shots() {
    return Array.from(this.starts, (start, shot) => {
      const time = (start + (this.starts[shot + 1] ?? this.duration)) / 2;
      return { time, code: this.at(time) };
    });
  }

  // The code at `time` in seconds, between its neighbours; the film starts over at its end. Codes
  // on two sides of a cut are not mixed.
  at(time) {
    const wrapped = ((time % this.duration) + this.duration) % this.duration;
    let right = this.times.findIndex((other) => other > wrapped);
    if (right === 0) return this.codes[0];
    if (right < 0) return this.codes.at(-1);
    const [from, to] = [this.times[right - 1], this.times[right]];
    if (this.starts.some((start) => start > from && start <= to)) return this.codes[right - 1];
    const part = (wrapped - from) / (to - from);
    return this.codes[right - 1].map((value, index) => value + part * (this.codes[right][index] - value));
  }

  // The moment whose code has the smallest Euclidean distance: { time, code }.
  nearest(code) {
    let [best, least] = [0, Infinity];
    for (let index = 0; index < this.codes.length; index++) {
      let distance = 0;
      const other = this.codes[index];
      for (let axis = 0; axis < code.length && distance < least; axis++) distance += (code[axis] - other[axis]) ** 2;
      if (distance < least) [best, least] = [index, distance];
    }
    return { time: this.times[best], code: this.codes[best] };
  }

  // The code moved by `amounts` standard deviations along the principal directions.
  moved(code, amounts) {
    const result = Float32Array.from(code);
    amounts.forEach((amount, number) => {
      const scale = amount * this.deviations[number];
      if (scale) this.directions[number].forEach((value, axis) => (result[axis] += scale * value));
    });
    return result;
  }
}
