// Runs the two models with ONNX Runtime Web, so that the page stays responsive. The page starts
// this from a Blob, so that the page's Content-Security-Policy also holds here.

let ort;
const sessions = {};
let size; // { width, height, z_dim }

async function open({ runtime, wasm, backend, threads, encoder, decoder, config }) {
  ort = await import(runtime);
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = threads;
  size = config;
  const options = { executionProviders: [backend], logSeverityLevel: 3 }; // 3: errors
  sessions.encoder = await ort.InferenceSession.create(encoder, options);
  sessions.decoder = await ort.InferenceSession.create(decoder, options);
  // The first run compiles the shaders and reserves the memory.
  const blank = new Uint8ClampedArray(4 * size.width * size.height);
  await decode(await encode(blank));
}

// The latent code, float32 [Z], of a frame as RGBA bytes.
async function encode(rgba) {
  const frames = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    frames[to++] = rgba[from];
    frames[to++] = rgba[from + 1];
    frames[to++] = rgba[from + 2];
  }
  const shape = [1, size.height, size.width, 3];
  const outputs = await sessions.encoder.run({ frames: new ort.Tensor("uint8", frames, shape) });
  return Float32Array.from(outputs.mean.data);
}

// The frame of a latent code, RGBA bytes.
async function decode(code) {
  const z = new ort.Tensor("float32", code, [1, size.z_dim]);
  const { frames } = await sessions.decoder.run({ z });
  const rgba = new Uint8ClampedArray((frames.data.length / 3) * 4).fill(255);
  for (let from = 0, to = 0; to < rgba.length; to += 4) {
    rgba[to] = frames.data[from++];
    rgba[to + 1] = frames.data[from++];
    rgba[to + 2] = frames.data[from++];
  }
  return rgba;
}

const tasks = { open, encode, decode };
let last = Promise.resolve(); // a session runs one task at a time

onmessage = ({ data: { id, task, argument } }) => {
  last = last.then(async () => {
    try {
      postMessage({ id, result: await tasks[task](argument) });
    } catch (error) {
      // ONNX Runtime also throws bare numbers, the addresses of C++ exceptions.
      postMessage({ id, error: String(error?.message ?? error) });
    }
  });
};
