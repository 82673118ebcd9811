// The stage: paints results as they come, crisp, smooth or upscaled.

import { $ } from "./dom.js";

export const LOOKS = ["smooth", "crisp", "upscaled"];
const MAX_SCALE = 4; // of the upscaled stage; beyond it the browser enlarges smoothly, which looks the same

const VERTICES = `#version 300 es
out vec2 place;
void main() {
  place = vec2(gl_VertexID % 2, gl_VertexID / 2) * 2.0;
  gl_Position = vec4(place * 2.0 - 1.0, 0, 1);
}`;
// Bicubic interpolation (Keys, 1981) with a = -0.75, sharper than Catmull and Rom's -0.5.
const FRAGMENTS = `#version 300 es
precision highp float;
uniform sampler2D picture;
in vec2 place;
out vec4 colour;
vec4 weights(float t) {
  vec4 d = vec4(1.0 + t, t, 1.0 - t, 2.0 - t);
  vec4 near = (1.25 * d - 2.25) * d * d + 1.0;
  vec4 far = ((-0.75 * d + 3.75) * d - 6.0) * d + 3.0;
  return vec4(far.x, near.y, near.z, far.w);
}
void main() {
  ivec2 size = textureSize(picture, 0);
  vec2 position = vec2(place.x, 1.0 - place.y) * vec2(size) - 0.5;
  ivec2 first = ivec2(floor(position)) - 1;
  vec4 across = weights(fract(position.x)), down = weights(fract(position.y));
  vec3 sum = vec3(0);
  for (int y = 0; y < 4; y++)
    for (int x = 0; x < 4; x++)
      sum += across[x] * down[y] * texelFetch(picture, clamp(first + ivec2(x, y), ivec2(0), size - 1), 0).rgb;
  colour = vec4(clamp(sum, 0.0, 1.0), 1);
}`;

// Draws a canvas on another one by bicubic interpolation. Throws if the browser has no WebGL 2.
class Upscaler {
  constructor(canvas) {
    this.canvas = canvas;
    const gl = (this.gl = canvas.getContext("webgl2", { preserveDrawingBuffer: true }));
    if (!gl) throw new Error("This browser has no WebGL 2, so the picture is smooth instead of upscaled.");
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTICES], [gl.FRAGMENT_SHADER, FRAGMENTS]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  }

  draw(source) {
    const { gl, canvas } = this;
    const scale = Math.min(MAX_SCALE, Math.ceil((canvas.clientWidth * devicePixelRatio) / source.width));
    const [width, height] = [source.width * scale, source.height * scale];
    if (canvas.width !== width) [canvas.width, canvas.height] = [width, height];
    gl.viewport(0, 0, width, height);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, source);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}

export class Stage {
  // While `isInputOwn`, the page draws the input itself, and the server's late pictures are not shown.
  // `shown(picture, count)` is called after a result is painted; count: results received so far.
  constructor(width, height, shown) {
    Object.assign(this, { shown, count: 0, pending: {}, width, height, isInputOwn: false });
    this.contexts = { output: $("output").getContext("2d", { willReadFrequently: true }), input: $("input").getContext("2d", { willReadFrequently: true }) };
    for (const { canvas } of Object.values(this.contexts)) [canvas.width, canvas.height] = [width, height];
    for (const id of ["stage", "input"]) $(id).style.setProperty("--aspect", width / height);
    new ResizeObserver(() => this.enlarge()).observe($("stage"));
  }

  // Paints the newest picture before the next repaint of the screen.
  receive(picture) {
    if (!picture.isSource) this.count += 1;
    const name = picture.isSource ? "input" : "output";
    const isFirst = !this.pending[name];
    this.pending[name] = picture;
    if (isFirst) requestAnimationFrame(() => this.paint(name));
  }

  async paint(name) {
    const picture = this.pending[name];
    this.pending[name] = null;
    const { count } = this;
    const image = picture.rgba ? new ImageData(picture.rgba, this.width, this.height) : await createImageBitmap(picture.blob);
    if (name === "input" && this.isInputOwn) return;
    if (picture.rgba) this.contexts[name].putImageData(image, 0, 0);
    else this.contexts[name].drawImage(image, 0, 0);
    if (name === "input") return;
    this.enlarge();
    this.shown(picture, count);
  }

  clearInput() {
    this.contexts.input.clearRect(0, 0, this.width, this.height);
  }

  // A new connection counts its results from 1.
  restart() {
    this.count = 0;
  }

  // Throws a sentence if the browser cannot do it.
  setLook(look) {
    if (look === "upscaled") this.upscaler ??= new Upscaler($("upscaled"));
    this.isUpscaled = look === "upscaled";
    $("upscaled").hidden = !this.isUpscaled;
    $("output").classList.toggle("crisp", look === "crisp");
    this.enlarge();
  }

  enlarge() {
    if (this.isUpscaled) this.upscaler.draw($("output"));
  }
}
