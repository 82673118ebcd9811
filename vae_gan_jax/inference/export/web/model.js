// The exported encoder and decoder in a worker, on WebGPU or WASM.

const runtime = JSON.parse(document.getElementById("runtime").textContent);
const RUNTIME_FILES = {
  webgpu: ["ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"],
  wasm: ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"],
};
const MAX_THREADS = 8; // more gain nothing on models of this size
const NO_MEMORY = /bad_alloc|out of memory|allocat|OOM|array length|too large/i;

// The bytes of a file; `progress` is given the number of each part that arrives.
export async function fetchBytes(address, progress = () => {}, options = {}) {
  const response = await fetch(address, options);
  if (!response.ok) throw new Error(`${address} is missing on the server (${response.status}).`);
  const parts = [];
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    progress(value.length);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

function blobAddress(bytes) {
  return URL.createObjectURL(new Blob([bytes], { type: "text/javascript" }));
}

async function fetchRuntime(name, progress, options) {
  try {
    return await fetchBytes(runtime.base + name, progress, { integrity: runtime.integrity[name], ...options });
  } catch (error) {
    throw new Error(`ONNX Runtime Web could not be loaded from ${runtime.base}: ${error.message}`);
  }
}

// Opens the model on the best backend of this browser. `report` is given sentences for the reader,
// `note` those that stay.
export async function openModel(config, report, note) {
  const wanted = new URLSearchParams(location.search).get("backend"); // ?backend=wasm
  if (wanted !== "wasm") {
    const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
    const halves = config.precision !== "float16" || adapter?.features.has("shader-f16");
    if (!adapter) note("This browser has no WebGPU here, so the model runs on the processor (WASM).");
    else if (!halves) note("WebGPU has no float16 on this machine, so the model runs on the processor (WASM).");
    else {
      try {
        return await open("webgpu", config, report, note);
      } catch (error) {
        note(`The model runs on the processor (WASM) because WebGPU failed: ${error.message}`);
      }
    }
  }
  return open("wasm", config, report, note);
}

async function open(backend, config, report, note) {
  let threads = 1;
  if (backend === "wasm") {
    if (self.crossOriginIsolated) threads = Math.min(MAX_THREADS, navigator.hardwareConcurrency);
    else note("One thread only: threads need cross-origin isolation, which two headers of the web server give (README.md beside this page).");
  }
  const abort = new AbortController(); // one missing file stops the other downloads
  const options = { signal: abort.signal };
  let megabytes = 0;
  const progress = (bytes) => report(`Loading the model: ${(megabytes += bytes / 1e6).toFixed(1)} MB`);
  const [script, binary] = RUNTIME_FILES[backend];
  const model = new Model(backend, threads, config);
  try {
    const [workerSource, scriptBytes, wasm, encoder, decoder] = await Promise.all([
      fetchBytes("worker.js"),
      fetchRuntime(script, progress, options),
      fetchRuntime(binary, progress, options),
      fetchBytes("encoder.onnx", progress, options),
      fetchBytes("decoder.onnx", progress, options),
    ]);
    model.bytes = encoder.length + decoder.length;
    report("Starting the model…");
    model.start(blobAddress(workerSource));
    const argument = { runtime: blobAddress(scriptBytes), wasm, backend, threads, encoder, decoder, config };
    await model.ask("open", argument, [wasm.buffer, encoder.buffer, decoder.buffer]);
    return model;
  } catch (error) {
    abort.abort();
    model.worker?.terminate();
    throw error;
  }
}

class Model {
  constructor(backend, threads, { width, height }) {
    Object.assign(this, { backend, threads, width, height, bytes: 0, waiting: new Map(), count: 0 });
    this.name = backend === "webgpu" ? "WebGPU" : `WASM, ${threads} thread${threads > 1 ? "s" : ""}`;
  }

  start(address) {
    this.worker = new Worker(address, { type: "module" });
    const fail = (event) => {
      for (const { reject } of this.waiting.values()) reject(this.readable(event.message || "its worker stopped."));
      this.waiting.clear();
    };
    this.worker.onerror = this.worker.onmessageerror = fail;
    this.worker.onmessage = ({ data: { id, result, error } }) => {
      const { resolve, reject } = this.waiting.get(id) ?? {};
      this.waiting.delete(id);
      if (error !== undefined) reject?.(this.readable(error));
      else resolve?.(result);
    };
  }

  ask(task, argument, transfer = []) {
    return new Promise((resolve, reject) => {
      this.waiting.set(++this.count, { resolve, reject });
      this.worker.postMessage({ id: this.count, task, argument }, transfer);
    });
  }

  // An error of the worker as a sentence that says what to do.
  readable(text) {
    const bareAddress = /^\d+$/.test(text); // a C++ exception, which is nearly always bad_alloc
    if (!bareAddress && !NO_MEMORY.test(text)) return new Error(`The model cannot run: ${text.trim()}`);
    const size = this.bytes ? ` (${(this.bytes / 1e6).toFixed(0)} MB)` : "";
    return new Error(`The model${size} does not fit into this browser's memory: close other tabs, or export it with --precision=float16.`);
  }

  // The latent code, Float32Array [Z], of a frame in RGBA bytes.
  encode(rgba) {
    return this.ask("encode", rgba);
  }

  // The frame of a latent code as ImageData.
  async decode(code) {
    return new ImageData(await this.ask("decode", code), this.width, this.height);
  }
}
