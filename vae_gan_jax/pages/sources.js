// Where frames come from: a camera, a screen, a film or a picture. Errors are sentences.

export const NEEDS_HTTPS = "browsers offer it only on https pages and on localhost";
const REASONS = {
  NotAllowedError: "permission was denied (allow it in the address bar, then try again)",
  NotFoundError: "there is none",
  NotReadableError: "the system or another program refuses it",
  AbortError: "it did not start",
};

// The sentence of a device that the browser does not give.
export function failure(what, error) {
  return new Error(`${what}: ${REASONS[error.name] ?? error.message}.`);
}

async function playing(video) {
  video.muted = video.playsInline = true;
  await new Promise((resolve, reject) => {
    video.onloadeddata = resolve;
    video.onerror = () => reject(new Error("it cannot be decoded"));
  });
  await video.play();
  return video;
}

class Source {
  constructor(kind, element, width, height, close) {
    Object.assign(this, { kind, element, width, height, close, drawn: -1 });
  }

  // Whether there is a frame that was not drawn yet.
  get fresh() {
    return this.element.videoWidth === undefined ? this.drawn < 0 : this.element.currentTime !== this.drawn;
  }

  // Draws the current frame, cropped centrally to the canvas's aspect ratio and scaled to its size.
  draw(context) {
    const { width, height } = context.canvas;
    const [fullWidth, fullHeight] = [this.element.videoWidth ?? this.width, this.element.videoHeight ?? this.height];
    const scale = Math.min(fullWidth / width, fullHeight / height);
    const [cropWidth, cropHeight] = [width * scale, height * scale];
    const [left, top] = [(fullWidth - cropWidth) / 2, (fullHeight - cropHeight) / 2];
    context.imageSmoothingQuality = "high";
    context.drawImage(this.element, left, top, cropWidth, cropHeight, 0, 0, width, height);
    this.drawn = this.element.currentTime ?? 0;
  }
}

async function ofStream(kind, stream, ended) {
  const close = () => stream.getTracks().forEach((track) => track.stop());
  const video = document.createElement("video");
  video.srcObject = stream;
  await playing(video).catch((error) => {
    close();
    throw error;
  });
  stream.getVideoTracks()[0].addEventListener("ended", ended);
  return new Source(kind, video, video.videoWidth, video.videoHeight, close);
}

let camera = -1; // index of the camera in use

// Opens the first camera, the next one if one is open, null after the last one.
export async function openCamera(ended, current) {
  if (!navigator.mediaDevices?.getUserMedia)
    throw new Error(`The camera cannot be used: ${NEEDS_HTTPS}.`);
  try {
    camera = current ? camera + 1 : 0;
    const devices = await navigator.mediaDevices.enumerateDevices();
    const cameras = devices.filter(({ kind }) => kind === "videoinput");
    if (current && camera >= cameras.length) return null;
    const id = cameras[camera]?.deviceId; // empty before the first permission
    const video = id ? { deviceId: { exact: id } } : true;
    return await ofStream("camera", await navigator.mediaDevices.getUserMedia({ video }), ended);
  } catch (error) {
    throw failure("The camera cannot be used", error);
  }
}

export async function openScreen(ended) {
  if (!navigator.mediaDevices?.getDisplayMedia) throw new Error("This browser cannot share a screen.");
  try {
    return await ofStream("screen", await navigator.mediaDevices.getDisplayMedia({ video: true }), ended);
  } catch (error) {
    throw failure("The screen cannot be shared", error);
  }
}

// Opens a film, which is repeated, or a picture.
export async function openFile(file) {
  const address = URL.createObjectURL(file);
  const close = () => URL.revokeObjectURL(address);
  try {
    if (file.type.startsWith("image/")) {
      const picture = await createImageBitmap(file);
      return new Source("file", picture, picture.width, picture.height, close);
    }
    const video = document.createElement("video");
    video.loop = true;
    video.src = address;
    await playing(video);
    if (!video.videoWidth) throw new Error("it has no pictures");
    return new Source("file", video, video.videoWidth, video.videoHeight, close);
  } catch {
    close();
    throw new Error(`${file.name} is neither a film nor a picture that this browser can show.`);
  }
}
