// What the page hears: levels of a microphone, of the system or of a film, 0 to 1. They are measured
// as film/sound.py does, except that the loudest level is that of the last seconds.

import { NEEDS_HTTPS, failure } from "./sources.js";

export const LEVELS = ["loudness", "onsets", "low", "mid", "high"];
const BANDS_HZ = { low: [20, 250], mid: [250, 2000], high: [2000, 12000] };
const PERIOD_MS = 33;
const PEAK_FADE = 0.998; // of the loudest level, at each measurement: half after 11 s
const POWER = 0.6, SILENCE = 1e-3, MIN_PEAK = 0.01; // of amplitudes
const MIN_ONSET = 0.1;
// From the root of a band's summed squares to its amplitude: the analyser's Blackman window keeps
// 0.305 of the power, and half of it belongs to negative frequencies.
const BAND_SCALE = Math.sqrt(2 / 0.305);
const SOUND_ALONE = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

async function openStream(kind, source) {
  try {
    if (kind !== "file" && !navigator.mediaDevices) throw new Error(NEEDS_HTTPS);
    if (kind === "microphone") return await navigator.mediaDevices.getUserMedia({ audio: SOUND_ALONE });
    if (kind === "system") return await navigator.mediaDevices.getDisplayMedia({ video: true, audio: SOUND_ALONE });
  } catch (error) {
    throw failure(`The ${kind === "system" ? "system’s sound" : "microphone"} cannot be used`, error);
  }
  if (!source?.element?.captureStream) throw new Error("There is no dropped film to hear: drop one, then choose it.");
  return source.element.captureStream();
}

export class Listener {
  // `heard(levels)` is called 30 times a second.
  static async open(kind, source, heard) {
    const stream = await openStream(kind, source);
    if (!stream.getAudioTracks().length) {
      if (kind !== "file") stream.getTracks().forEach((track) => track.stop());
      throw new Error(kind === "system" ? "The shared window or screen has no sound: share a tab, or tick “share audio”." : "The dropped film has no sound.");
    }
    return new Listener(new MediaStream(stream.getAudioTracks()), kind !== "file" ? stream : null, heard);
  }

  constructor(stream, owned, heard) {
    Object.assign(this, { stream, owned, peaks: {}, before: null, mean: 0, peakOnset: 1 });
    this.context = new AudioContext();
    this.analyser = new AnalyserNode(this.context, { fftSize: 2048, smoothingTimeConstant: 0 });
    this.context.createMediaStreamSource(stream).connect(this.analyser);
    this.samples = new Float32Array(this.analyser.fftSize);
    this.decibels = new Float32Array(this.analyser.frequencyBinCount);
    this.timer = setInterval(() => heard(this.measure()), PERIOD_MS);
  }

  close() {
    clearInterval(this.timer);
    this.owned?.getTracks().forEach((track) => track.stop());
    this.context.close();
  }

  measure() {
    this.analyser.getFloatTimeDomainData(this.samples);
    this.analyser.getFloatFrequencyData(this.decibels);
    const amplitudes = this.decibels.map((decibels) => 10 ** (Math.max(decibels, -120) / 20));
    const hz = this.context.sampleRate / this.analyser.fftSize;
    const levels = { loudness: this.level("loudness", Math.sqrt(this.samples.reduce((sum, sample) => sum + sample * sample, 0) / this.samples.length)) };
    levels.onsets = this.onset(amplitudes);
    for (const [name, [low, high]] of Object.entries(BANDS_HZ)) {
      const band = amplitudes.subarray(Math.ceil(low / hz), Math.ceil(high / hz));
      levels[name] = this.level(name, BAND_SCALE * Math.sqrt(band.reduce((sum, amplitude) => sum + amplitude * amplitude, 0)));
    }
    return levels;
  }

  level(name, amplitude) {
    const peak = (this.peaks[name] = Math.max(MIN_PEAK, amplitude, (this.peaks[name] ?? 0) * PEAK_FADE));
    const [now, silence, loudest] = [amplitude, SILENCE, peak].map((value) => value ** POWER);
    return Math.min(1, Math.max(0, (now - silence) / (loudest - silence)));
  }

  // The growth of the spectrum's logarithm above its mean.
  onset(amplitudes) {
    const logarithms = amplitudes.map((amplitude) => Math.log1p(amplitude / SILENCE));
    const growth = this.before ? logarithms.reduce((sum, value, index) => sum + Math.max(0, value - this.before[index]), 0) : 0;
    this.before = logarithms;
    this.mean += (growth - this.mean) / 30;
    const above = growth - this.mean;
    this.peakOnset = Math.max(1, above, this.peakOnset * PEAK_FADE);
    return Math.min(1, Math.max(0, (above / this.peakOnset - MIN_ONSET) / (1 - MIN_ONSET)));
  }
}

// Sends a stream's sound in parts while a recording runs.
export class SoundRecorder {
  constructor(stream, send) {
    this.number = 0;
    this.last = Promise.resolve();
    this.recorder = new MediaRecorder(stream, { mimeType: "audio/webm;codecs=opus" });
    this.recorder.ondataavailable = ({ data }) =>
      (this.last = this.last.then(async () => data.size && send(++this.number, new Uint8Array(await data.arrayBuffer()))));
    this.recorder.start(500);
  }

  // Ends after the last part was sent.
  async stop() {
    // The recorder stops by itself when the page hears nothing any more.
    if (this.recorder.state !== "inactive")
      await new Promise((resolve) => {
        this.recorder.onstop = resolve;
        this.recorder.stop();
      });
    await this.last;
  }
}
