"""Hostile, damaged and foreign files: all text is escaped, nothing ends in a traceback."""

import dataclasses
import json
import shutil
import typing
from fractions import Fraction

import numpy as np

from tests.report.runs_to_report import FRAMES, NAME, RATE, Reader
from vae_gan_jax.film.read.framing import Framing
from vae_gan_jax.film.write.encode import Encoder
from vae_gan_jax.report import measure_tables, player_film, report_page
from vae_gan_jax.run import atomic_io, provenance

HOSTILE = '<script>alert(\'1\')</script>"><b onload="x">&amp; {{ 7*7 }}'


def test_hostile_keys_names_and_captions_are_text(small, tmp_path):
    """No element and no attribute of the page comes from the names and JSON keys of a run."""
    values = {"psnr": 21.0, HOSTILE: 1.0}
    measures = {
        "frames": FRAMES, "rate": RATE, "whole": values, "shots": [{"first": 0, "stop": 9} | values]
    }  # fmt: skip
    name = HOSTILE.replace("/", "")
    (tmp_path / "measures").mkdir()
    (tmp_path / "measures" / f"{name}.json").write_text(json.dumps(measures))
    lines = [{"step": step, "epoch": 1, HOSTILE: step} for step in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    picture = atomic_io.png(np.zeros((9, 16, 3), np.uint8))
    atomic_io.write(tmp_path / "figures" / f"{name}.png", picture)
    config = dataclasses.replace(small, run_dir=str(tmp_path), film=HOSTILE)
    path = tmp_path / "films" / f"{name}.mp4"
    path.parent.mkdir()
    with Encoder(path, Framing(20, 18), Fraction(RATE)) as encoder:
        encoder.write(np.zeros((FRAMES, 18, 20, 3), np.uint8))
    recorded = {"source": HOSTILE, "film": HOSTILE, "step": 1, "upscale": ""}
    recorded |= dict.fromkeys(("trim_start", "trim_end", "crop", "video_stream", "fps"), "")
    provenance.record(tmp_path, f"films/{name}", recorded | {"crop": "none"}, [path])
    reader = Reader(report_page.write(config).read_text())
    assert not reader.all("b", onload="x")
    assert len(reader.all("script")) == 2  # the film's bytes and the page's own
    for section in ("films", "measures", "curves", "settings"):
        assert HOSTILE in reader.texts[section], section
    assert name in reader.texts["figures"]
    (points,) = [
        json.loads(one["data-measures"]) for one in reader.all("div", **{"class": "timeline"})
    ]
    assert set(points["values"]) == {"psnr", HOSTILE}


DAMAGED = (
    "", "{", "null", "[]", "[" * 100_000, '"text"', "{}", "\ud800", "1e999",
    '{"made_from": {}, "files": {}}', '{"made_from": 1, "files": {"films/x.mp4": 1}}',
)  # fmt: skip


def mutations(content: dict, random) -> typing.Iterator[str]:
    """The JSON of an object in which one value anywhere was exchanged or removed."""
    strange = (None, True, -1, 0, 1e300, float("nan"), 10**50, "text", [], {}, [None], {"a": []})
    for _ in range(12):
        copy = json.loads(json.dumps(content))
        parent, keys = copy, list(copy)
        while True:
            key = keys[random.integers(len(keys))]
            child = parent[key]
            inside = (
                list(child)
                if isinstance(child, dict)
                else range(len(child or ()))
                if isinstance(child, list)
                else []
            )
            if not inside or random.random() < 0.3:
                break
            parent, keys = child, inside
        parent[key] = strange[random.integers(len(strange))]
        if random.random() < 0.2:
            del parent[key]
        yield json.dumps(copy)


def test_damaged_files_never_end_in_a_traceback(config, tmp_path, caplog, monkeypatch):
    """Measures, metrics and records that are damaged or foreign are left out of the page."""
    shutil.copytree(config.run_dir, tmp_path / "run")
    config = dataclasses.replace(config, run_dir=str(tmp_path / "run"))
    film = player_film.PlayerFilm(b"film", "", b"poster", 40, 18, FRAMES, 4)
    monkeypatch.setattr(player_film, "make", lambda *_: film)  # encoding would take all the time
    random = np.random.default_rng(0)
    files = [tmp_path / "run" / name for name in (
        f"measures/{NAME}.json", "metrics.jsonl", f"provenance/films/{NAME}.json",
        "provenance/report.json", "provenance/film_checksums.json",
    )]  # fmt: skip
    report_page.write(config)
    for path in files:
        whole = path.read_bytes()
        content = (
            json.loads(whole.splitlines()[0]) if path.suffix == ".jsonl" else json.loads(whole)
        )
        texts = [] if path.stem in ("report", "film_checksums") else mutations(content, random)
        for text in (*DAMAGED, *texts):
            path.write_bytes(text.encode(errors="surrogatepass"))
            assert 'id="samples"' in report_page.write(config, again=False).read_text()
        path.write_bytes(whole)
    (tmp_path / "run" / "samples" / "epoch_002.png").write_bytes(b"\x89PNG damaged")
    labels = Reader(report_page.write(config).read_text()).all("figure")
    assert "epoch 2, step 12" not in [one.get("data-label") for one in labels]
    assert "epoch_002.png is damaged" in caplog.text


def test_a_frame_rate_near_zero_is_damage(tmp_path, caplog):
    """The time of a shot would be infinite."""
    measures = {"frames": 2, "rate": 1e-320, "whole": {}, "shots": [{"first": 1, "stop": 2}]}
    atomic_io.write(tmp_path / "measures" / "a.json", json.dumps(measures))
    assert measure_tables.read(tmp_path) == {}
    assert "a.json is damaged" in caplog.text
