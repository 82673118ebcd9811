"""What a run to report holds, and a parser of the page."""

import json
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

from vae_gan_jax.run import provenance

FRAMES, RATE = 72, 24
CUTS = (0, 25, 30, 61, FRAMES)
NAME = "a <b>film & 'more' 100% #1"  # all characters that HTML treats specially


def film_record(source) -> dict:
    """The record of a reconstruction, as ``--mode=reconstruct`` makes it."""
    settings = {"trim_start": "", "trim_end": "", "crop": "none", "video_stream": "", "fps": ""}
    film = provenance.film_checksum([source])
    return {"source": str(source), "film": film, "step": 12, "upscale": "", **settings}


def write_metrics(run_dir: Path) -> None:
    lines = [
        {
            "step": step,
            "epoch": 1 + (step > 6),
            "noise_std": 0.5 if step <= 6 else 0.1,
            "loss/encoder": None if step in (4, 5) else 0.2 * step,
            "loss/decoder": 3.0 - 0.1 * step,
            "gradient_norm/encoder": 10.0 ** (step / 4),
            "of <tomorrow>": float(step),
        }
        for step in range(1, 13)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run_dir / "metrics.jsonl").write_text(text + '{"step": 13, "ep')  # cut short


def write_measures(run_dir: Path, name: str = NAME) -> None:
    shots = [
        {
            "first": first, "stop": stop,
            "start_seconds": first / RATE, "stop_seconds": stop / RATE,
            "still": False,
            "psnr": 20.0 + first / 10, "aligned_retention": None if first == 25 else 0.5,
        }
        for first, stop in pairwise(CUTS)
    ]  # fmt: skip
    bands = [
        {"low": 0, "high": 32, "frames": 12, "psnr": 31.5},
        {"low": 32, "high": 64, "frames": 0, "psnr": None},
    ]
    whole = {
        "psnr": 21.345, "recognised_shot": 0.5, "black_error": None, "psnr_by_brightness": bands
    }  # fmt: skip
    measures = {
        "version": 1, "name": name, "rate": RATE, "frames": FRAMES, "whole": whole, "shots": shots,
        "learnt": {"frames": 60, "psnr": 23.456}, "held_out": {"frames": 12, "psnr": 15.251},
        "gap": {"psnr": -8.2},
    }  # fmt: skip
    (run_dir / "measures").mkdir(exist_ok=True)
    (run_dir / "measures" / f"{name}.json").write_text(json.dumps(measures))


class Reader(HTMLParser):
    """The elements of a page, and the text of each section."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self._section = [], {}, ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if tag == "section":
            self._section = attributes["id"]

    def handle_data(self, data):
        self.texts[self._section] = self.texts.get(self._section, "") + data

    def all(self, tag, **attributes):
        """The attributes of all elements with this tag and these attributes."""
        wanted = attributes.items()
        return [
            values for name, values in self.elements if name == tag and wanted <= values.items()
        ]
