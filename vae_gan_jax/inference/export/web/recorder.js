// Records a canvas to WebM, enlarged so that players do not smear a small picture.

const MIN_HEIGHT = 480; // pixels
const RATE = 30; // frames/s, at most
const BITS_PER_SECOND = 8e6;
const TYPES = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];

export class Recorder {
  constructor(canvas) {
    const type = TYPES.find((name) => globalThis.MediaRecorder?.isTypeSupported(name));
    if (!type) throw new Error("This browser cannot record WebM.");
    const scale = Math.max(1, Math.ceil(MIN_HEIGHT / canvas.height));
    this.canvas = canvas;
    this.enlarged = document.createElement("canvas").getContext("2d");
    const even = (pixels) => pixels + (pixels % 2);
    [this.enlarged.canvas.width, this.enlarged.canvas.height] = [even(canvas.width * scale), even(canvas.height * scale)];
    this.enlarged.imageSmoothingQuality = "high";
    this.parts = [];
    this.recorder = new MediaRecorder(this.enlarged.canvas.captureStream(RATE), {
      mimeType: type,
      videoBitsPerSecond: BITS_PER_SECOND,
    });
    this.recorder.ondataavailable = ({ data }) => this.parts.push(data);
    this.recorder.start(1000);
    this.draw();
  }

  draw() {
    const { width, height } = this.enlarged.canvas;
    this.enlarged.drawImage(this.canvas, 0, 0, width, height);
  }

  // The recorded film: { address, name, bytes }.
  async stop() {
    this.draw(); // the last picture lasts until now
    await new Promise((resolve) => {
      this.recorder.onstop = resolve;
      this.recorder.stop();
    });
    const film = new Blob(this.parts, { type: "video/webm" });
    if (!film.size) throw new Error("Nothing was recorded.");
    const name = `${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.webm`;
    return { address: URL.createObjectURL(film), name, bytes: film.size };
  }
}
