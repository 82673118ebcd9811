// The WebSocket to the server (PROTOCOL.md): JSON texts and binary messages. It reconnects.

const HEADER_BYTES = 24;
const RETRY_MS = 700;
const MAX_UNANSWERED = 2; // source frames: one is rendered while the next one travels
const KINDS = { source: 1, result: 2, film: 3, sound: 4 };
const FORMATS = { rgba: 0, webp: 2 };
const TYPES = { 2: "image/webp", 3: "image/jpeg", 4: "image/png" };

export class Connection {
  // `on` has functions: text(message), picture(picture), closed().
  constructor(address, on) {
    Object.assign(this, { address, on, sent: 0, answered: 0, socket: null });
    this.open();
  }

  open() {
    const socket = new WebSocket(this.address);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.socket = socket;
      this.sent = this.answered = 0;
    };
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.on.text(JSON.parse(data)) : this.receive(data));
    socket.onclose = () => {
      this.socket = null;
      this.on.closed();
      setTimeout(() => this.open(), RETRY_MS);
    };
  }

  get isFree() {
    return this.socket && this.sent - this.answered < MAX_UNANSWERED && !this.socket.bufferedAmount;
  }

  send(type, fields = {}) {
    this.socket?.send(JSON.stringify({ type, ...fields }));
  }

  sendFrame(format, bytes, captured, seconds) {
    this.sendBinary(KINDS.source, FORMATS[format], ++this.sent, captured, seconds, bytes);
  }

  sendSound(number, bytes) {
    this.sendBinary(KINDS.sound, 0, number, performance.now(), NaN, bytes);
  }

  sendBinary(kind, format, number, captured, seconds, bytes) {
    const message = new Uint8Array(HEADER_BYTES + bytes.length);
    const view = new DataView(message.buffer);
    view.setUint8(0, kind);
    view.setUint8(1, format);
    view.setUint32(4, number, true);
    view.setFloat64(8, captured, true);
    view.setFloat64(16, seconds, true);
    message.set(bytes, HEADER_BYTES);
    this.socket?.send(message);
  }

  receive(buffer) {
    const view = new DataView(buffer);
    const [kind, format, number] = [view.getUint8(0), view.getUint8(1), view.getUint32(4, true)];
    if (kind === KINDS.result && number <= this.sent) this.answered = Math.max(this.answered, number);
    const picture = { isSource: kind === KINDS.film, captured: view.getFloat64(8, true), seconds: view.getFloat64(16, true) };
    if (format in TYPES) picture.blob = new Blob([new Uint8Array(buffer, HEADER_BYTES)], { type: TYPES[format] });
    else picture.rgba = new Uint8ClampedArray(buffer, HEADER_BYTES);
    this.on.picture(picture);
  }
}
