// Sends the frames of a source in this page, the newest one whenever the server can take one.

export const ENCODINGS = ["rgba", "webp"];
const WEBP_QUALITY = 0.9;

export class FrameSender {
  constructor(connection, context, encoding, say) {
    Object.assign(this, { connection, context, encoding, say, source: null, isFrozen: false, isBusy: false });
  }

  // Sends a source's frames from now on; null: none.
  start(source) {
    Object.assign(this, { source, isNew: false });
    if (!source) return;
    const { element } = source;
    const callsBack = "requestVideoFrameCallback" in element;
    const next = () => {
      if (this.source !== source) return;
      this.isNew ||= callsBack || source.fresh;
      this.offer();
      if (callsBack) element.requestVideoFrameCallback(next);
      else requestAnimationFrame(next);
    };
    next();
  }

  // Sends the current frame if it is new and the server can take it.
  async offer() {
    const { source, context, connection } = this;
    if (!this.isNew || this.isFrozen || this.isBusy || !connection.isFree) return;
    this.isNew = false;
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
    this.encoding = "rgba";
    this.say("This browser cannot write WebP, so the frames travel uncompressed.");
    return this.encode({ canvas });
  }
}
