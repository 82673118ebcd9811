"""Speed of a preset with three bends beside plain reconstruction: python -m benchmarks.play RUN_DIR

Both pass the same frames through the networks, in turns, without decoding and encoding films.
"""

import argparse
import itertools
import json
import statistics
import time

import numpy as np

import vae_gan_jax
from vae_gan_jax.explore import play, presets
from vae_gan_jax.inference.reconstruct import reconstruct_frames
from vae_gan_jax.model import bending

OPERATIONS = ("rotate", "invert", "blur")
KEYS = "{keys: [[0, 0], [2, 1, smooth]], loop: 4}"


def three_bends(model) -> presets.Preset:
    """A preset of three bends in the decoder's middle layer, with keyframes."""
    layers = [name for name in bending.layers(model.config.step) if name.startswith("decoder/")]
    layer = layers[len(layers) // 2]
    lines = [f"  - {{control: bend_{name}, layer: {layer}, amount: {KEYS}}}" for name in OPERATIONS]
    return presets.parse("\n".join(["controls:", *lines]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir")
    parser.add_argument("--preset", help="a preset instead of three bends")
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    model = vae_gan_jax.open(arguments.run_dir)
    preset = presets.load(arguments.preset) if arguments.preset else three_bends(model)
    frames_THWC = np.stack(list(itertools.islice(model.film.frames(), arguments.frames)))
    player, rate = play.Player(model, preset), float(model.film.rate)

    def seconds(pairs) -> np.ndarray:
        """Of the clock, and of all processors."""
        start = time.perf_counter(), time.process_time()
        for _ in pairs:
            pass
        return np.array([time.perf_counter() - start[0], time.process_time() - start[1]])

    ratios, speeds = [], []
    for pair in range(arguments.pairs + 1):  # the first pair compiles
        plain = seconds(reconstruct_frames(model, frames_THWC))
        played = seconds(play.play(player, frames_THWC, rate))
        if pair:
            ratios.append(plain / played)
            speeds.append(len(frames_THWC) / played[0])
    print(
        json.dumps(
            {
                "frames_per_second": round(statistics.median(speeds), 1),
                "speed_relative_to_reconstruction": np.median(ratios, axis=0).round(3).tolist(),
                "ratios_of_clock_and_processor_time": np.round(ratios, 3).tolist(),
            }
        )
    )


if __name__ == "__main__":
    main()
