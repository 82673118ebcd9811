"""Measures rate and latency of --mode=live: source to stage, through server and WebSocket.

    python -m benchmarks.live [--seconds=20] [--width=256 --height=144] [--run_dir=RUN]

A client sends frames at 25 a second, as the page does with a camera, while a preset of three bends
plays. Latency is the time from sending a frame to having its result. Without --run_dir the
networks, thesis and residual, are untrained: that changes no time. The server runs in its own
process, as in a performance; client and server share the machine.
"""

import argparse
import asyncio
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import numpy as np

from vae_gan_jax.live import frames

RATE = 25
PRESET = """controls:
  - {control: bend_rotate, layer: LAYER1, degrees: {wave: 4, from: -20, to: 20}}
  - {control: bend_scale, layer: LAYER2, factor: {wave: 3, from: 0.5, to: 2}}
  - {control: bend_invert, layer: LAYER1, amount: 0.3}
"""


def make_run(folder: Path, networks: str, width: int, height: int) -> Path:
    """A run with untrained networks and no film."""
    import jax

    from vae_gan_jax.config import Config
    from vae_gan_jax.film.store.training_frames import TrainingFrames
    from vae_gan_jax.inference import batch_norm_statistics
    from vae_gan_jax.run.settings import record_settings
    from vae_gan_jax.training import train_state
    from vae_gan_jax.training.checkpoint import Checkpoints

    run_dir = folder / networks
    run_dir.mkdir()
    film = str(folder / "absent.mp4")
    config = Config(
        run_dir=str(run_dir), film=film, networks=networks, width=width, height=height, batch_size=4
    )
    record_settings(run_dir, config)
    state = train_state.create(config, jax.random.key(0))
    with Checkpoints(config.run_dir) as checkpoints:
        checkpoints.save(state)
    frames_THWC = np.zeros((8, height, width, 3), np.uint8)
    batch_norm_statistics.load_or_estimate(config, state, lambda: TrainingFrames(frames_THWC))
    return run_dir


@contextlib.contextmanager
def serving(run_dir: Path):
    """The address of a server of the run."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "vae_gan_jax.main", "--mode=live", f"--run_dir={run_dir}"),
            *("--port=0", "--osc_port=0", "--open_page=false"),
        ],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for line in process.stderr:
            if found := re.search(r"http://\S+", line):
                yield found[0]
                return
        raise SystemExit("the server did not start")
    finally:
        process.terminate()
        process.wait()


async def perform(address: str, seconds: float) -> dict[str, float]:
    """Sends frames for some seconds; returns rates and latencies."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{address}ws", max_msg_size=0) as socket,
    ):
        hello = json.loads((await socket.receive()).data)
        height, width = hello["model"]["height"], hello["model"]["width"]
        layers = [name for name in hello["layers"] if name.startswith("decoder/")]
        preset = PRESET.replace("LAYER1", layers[len(layers) // 2]).replace("LAYER2", layers[-2])

        async def say(type: str, **fields):
            await socket.send_str(json.dumps({"type": type, **fields}))

        await say("source", kind="page")
        await say("load_text", text=preset)
        async for message in socket:  # until it is compiled
            state = json.loads(message.data) if isinstance(message.data, str) else {}
            if state.get("type") == "error":
                raise SystemExit(state["message"])
            if state.get("preset") and not state["compiling"]:
                break
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        content, began = frames.encode(noise, frames.RGBA), time.perf_counter()
        answered, latencies, results, dropped = 0, [], 0, 0

        async def send():
            number, due = 0, time.perf_counter()
            while due < began + seconds + 3:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                due = max(due + 1 / RATE, time.perf_counter())
                if number - answered < 4:
                    number += 1
                    sent = 1000 * time.perf_counter()
                    header = frames.SOURCE, frames.RGBA, number, sent, np.nan
                    await socket.send_bytes(frames.Message(*header, content).bytes())

        sender, shown = asyncio.create_task(send()), 0
        async for message in socket:
            now = time.perf_counter()
            if isinstance(message.data, str):
                meter = json.loads(message.data)
                dropped += meter.get("dropped", 0)
            else:
                shown += 1
                await say("shown", number=shown)
                _, _, _, number, captured_ms, _ = frames.HEADER.unpack_from(message.data)
                if number > answered and now > began + 3:  # after the first seconds
                    results += 1
                    latencies.append(1000 * now - captured_ms)
                answered = max(answered, number)
            if now > began + seconds + 3:
                break
        sender.cancel()
        return {
            "frames_per_second": round(results / seconds, 1),
            "latency_ms_median": round(float(np.median(latencies)), 1),
            "latency_ms_p95": round(float(np.percentile(latencies, 95)), 1),
            "dropped": dropped,
        }


def main() -> None:
    """Prints a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--height", type=int, default=144)
    parser.add_argument("--run_dir")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(given.run_dir)] if given.run_dir else [
            make_run(Path(folder), networks, given.width, given.height)
            for networks in ("thesis", "residual")
        ]  # fmt: skip
        for run_dir in runs:
            with serving(run_dir) as address:
                print(run_dir.name, json.dumps(asyncio.run(perform(address, given.seconds))))


if __name__ == "__main__":
    main()
