"""Where films are written, and what they never replace."""

import dataclasses
from pathlib import Path

import pytest

from tests import runs
from vae_gan_jax import modes
from vae_gan_jax.config import InputError
from vae_gan_jax.inference import film_outputs
from vae_gan_jax.inference.reconstruct_film import reconstruct_films

pytestmark = pytest.mark.usefixtures("log_closed")


@pytest.fixture
def run(small, film, frames_THWC, tmp_path):
    return runs.make(tmp_path / "run", small, film, frames_THWC, crop="none")


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        (("output", "stacked"), ["a.mp4", "a_stacked.mp4"]),
        (("side_by_side", "output"), ["a.mp4", "a_output.mp4"]),
        (("stacked", "stacked"), ["a.mp4"]),
    ],
)
def test_the_first_film_is_the_output_and_each_has_a_file_of_its_own(run, layout, names):
    config = dataclasses.replace(run, output="a.mp4", layout=layout)
    assert [path.name for path in film_outputs.film_paths(config, "film").values()] == names


def test_a_film_beside_the_output_replaces_only_one_of_the_run(run, tmp_path):
    """The user named the output, but not the films beside it."""
    config = dataclasses.replace(
        run, output=str(tmp_path / "a.mp4"), layout=("output", "side_by_side")
    )
    beside = tmp_path / "a_side_by_side.mp4"
    beside.write_bytes(b"a user's film")
    with pytest.raises(InputError, match=r"a_side_by_side\.mp4, .* is not of this run: give"):
        film_outputs.check(config)
    assert beside.read_bytes() == b"a user's film"
    beside.unlink()
    film_outputs.check(config)
    reconstruct_films(config, again=True)
    assert beside.exists()
    film_outputs.check(config)  # the same command may replace it


def test_a_film_too_large_for_its_codec_is_refused(run):
    config = dataclasses.replace(run, upscale=(9000, 900), layout=("output", "side_by_side"))
    with pytest.raises(InputError, match=r"18000x900 pixels, and h264 encodes no side longer"):
        film_outputs.check(config)
    film_outputs.check(dataclasses.replace(config, layout=("stacked",)))
    film_outputs.check(dataclasses.replace(config, codec="prores"))


@pytest.mark.parametrize(
    "given",
    [
        {"output": "FILM"},
        {"output": "STILLS/1.png", "source": "STILLS/1.png"},
        {"output": "TONE", "sound": "TONE"},
        {"output": "CODES", "codes": "CODES"},
        {"frames_out": "STILLS", "source": "STILLS"},
        {"frames_out": "STILLS", "source": "STILLS/*.png"},
    ],
    ids=str,
)
def test_nothing_that_was_learnt_or_is_read_is_replaced(given, run, film, tmp_path):
    (tmp_path / "stills").mkdir()
    names = {"FILM": film, "STILLS": tmp_path / "stills"}
    names |= {name: tmp_path / f"{name.lower()}.npz" for name in ("TONE", "CODES")}
    for path in (Path(names["STILLS"], "1.png"), names["TONE"], names["CODES"]):
        path.touch()
    for name, path in names.items():
        given = {key: value.replace(name, str(path)) for key, value in given.items()}
    with pytest.raises(InputError, match=r"would replace .*, which is read or was learnt: give"):
        modes.resolve(given | {"run_dir": run.run_dir}, "decode")
