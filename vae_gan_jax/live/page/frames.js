// Sends the frames of a source in this page, the newest one whenever the server can take one.

export const ENCODINGS = ["rgba", "webp"];
const WEBP_QUALITY = 0.9;

export class FrameSender {
  constructor(connection, context, encoding) {
    Object.assign(this, { connection, context, encoding, source: null, isFrozen: false, isBusy: false });
  }

  // Sends a source's frames from now on; null: none.
  start(source) {
    this.source = source;
    if (!source) return;
    const video = source.element.videoWidth === undefined ? null : source.element;
    const wait = video?.requestVideoFrameCallback?.bind(video) ?? requestAnimationFrame;
    const next = () => {
      if (this.source !== source) return;
      this.offer();
      wait(next);
    };
    next();
  }

  // Sends the current frame if it is new and the server can take it.
  async offer() {
    const { source, context, connection } = this;
    if (!source?.fresh || this.isFrozen || this.isBusy || !connection.isFree) return;
    this.isBusy = true;
    try {
      const captured = performance.now();
      source.draw(context);
      const bytes = await this.encode(context);
      if (source === this.source) connection.sendFrame(this.encoding, bytes, captured, source.kind === "file" ? source.element.currentTime ?? NaN : NaN);
    } finally {
      this.isBusy = false;
    }
  }

  async encode({ canvas }) {
    if (this.encoding === "rgba") return this.context.getImageData(0, 0, canvas.width, canvas.height).data;
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/webp", WEBP_QUALITY));
    if (blob.type === "image/webp") return new Uint8Array(await blob.arrayBuffer());
    this.encoding = "rgba"; // Safari cannot write WebP
    return this.encode({ canvas });
  }
}
