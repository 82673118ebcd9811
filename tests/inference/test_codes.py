"""Latent codes as files: written whole, read without trust."""

import io
import json
import pickle
import zipfile
from fractions import Fraction

import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.inference import codes as codes_module
from vae_gan_jax.inference.codes import Codes

MEAN_TZ = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


@pytest.fixture
def codes():
    return Codes(
        MEAN_TZ,
        MEAN_TZ - 1,
        times=2 + np.arange(5) / 24,
        rate=Fraction(24000, 1001),
        shots=[(0, 2), (2, 5)],
        made_from={"step": 7},
    )


def test_a_file_holds_all_that_codes_have(codes, tmp_path):
    codes.save(tmp_path / "new" / "mine.npz")
    read = Codes.load(tmp_path / "new" / "mine.npz")
    for name in ("mean", "log_variance", "times", "shots"):
        np.testing.assert_array_equal(getattr(read, name), getattr(codes, name))
        assert getattr(read, name).dtype == getattr(codes, name).dtype
    assert (read.rate, read.made_from) == (codes.rate, codes.made_from)
    with np.load(tmp_path / "new" / "mine.npz", allow_pickle=False) as file:
        assert set(file.files) == set(codes_module.NAMES)
        assert json.loads(str(file["provenance"])) == {"step": 7}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine.npz"]


def test_a_file_made_with_numpy_needs_only_the_means(tmp_path):
    np.savez(tmp_path / "mine.npz", mean=MEAN_TZ.astype(np.float64))
    read = Codes.load(tmp_path / "mine.npz")
    np.testing.assert_array_equal(read.mean, MEAN_TZ)
    assert (read.log_variance, read.times, read.rate, read.shots) == (None, None, None, None)
    for rate, expected in ((24, 24), (23.976, Fraction(23976, 1000)), ("24000/1001", None)):
        np.savez(tmp_path / "mine.npz", mean=MEAN_TZ, rate=rate, other=[1])
        assert Codes.load(tmp_path / "mine.npz").rate == (expected or Fraction(rate))


def test_codes_are_shown_until_the_next_time():
    shown = Codes(MEAN_TZ, times=[1.0, 1.1, 1.1, 1.4, 1.45]).film_frames(Fraction(10))
    assert shown.tolist() == [0, 2, 2, 2, 4]
    assert Codes(MEAN_TZ).film_frames(Fraction(24)).tolist() == [0, 1, 2, 3, 4]
    rate = Fraction(24000, 1001)
    many = Codes(np.zeros((100_000, 1)), times=90.5 + np.arange(100_000) / float(rate))
    np.testing.assert_array_equal(many.film_frames(rate), np.arange(100_000))


ARRAYS = {
    "another shape": ({"log_variance": MEAN_TZ[:4]}, "give equal shapes"),
    "a flat array": ({"mean": MEAN_TZ[0]}, r"the shape \[3\]"),
    "NaN": ({"mean": MEAN_TZ * np.nan}, "not finite"),
    "infinity": ({"mean": MEAN_TZ + np.inf}, "not finite"),
    "beyond float32": ({"mean": MEAN_TZ.astype(float) * 1e300}, "not finite"),
    "texts": ({"mean": np.array([["a"]])}, "not an array of numbers"),
    "complex": ({"mean": MEAN_TZ * 1j}, "not an array of numbers"),
    "too few times": ({"times": np.arange(4.0)}, "not 5 ascending numbers"),
    "times in disorder": ({"times": np.arange(5.0)[::-1]}, "not 5 ascending numbers"),
    "NaN times": ({"times": np.full(5, np.nan)}, "times of .* not finite"),
    "no rate": ({"rate": np.array(0)}, "not a frame rate"),
    "a negative rate": ({"rate": np.array(-24.0)}, "not a frame rate"),
    "two rates": ({"rate": np.array([24, 25])}, "not a frame rate"),
    "a long rate": ({"rate": np.array("9" * 5000)}, "not a frame rate"),
    "shots": ({"shots": np.arange(4)}, "not pairs"),
    "provenance": ({"provenance": np.array("[")}, "not a JSON object"),
    "a list": ({"provenance": np.array("[1]")}, "not a JSON object"),
    "deep": ({"provenance": np.array("[" * 50_000)}, "not a JSON object"),
    "pickled": ({"mean": np.array([{}, None])}, "Object arrays cannot be loaded"),
    "a pickled rate": ({"rate": np.array(Fraction(24))}, "Object arrays cannot be loaded"),
}


@pytest.mark.parametrize(("arrays", "words"), ARRAYS.values(), ids=ARRAYS)
def test_other_arrays_are_refused_by_name(arrays, words, tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, **{"mean": MEAN_TZ} | arrays)
    with pytest.raises(InputError, match=words) as refusal:
        Codes.load(path)
    assert "mine.npz" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_span_of_years_is_refused():
    with pytest.raises(InputError, match=r"cover .* frames"):
        Codes(MEAN_TZ, times=[0, 1, 2, 3, 1e9]).film_frames(Fraction(24))
    with pytest.raises(InputError, match="length 0"):
        Codes(MEAN_TZ[:0]).film_frames(Fraction(24))


class Exploit:
    """Pickled, it would create a file when it is loaded."""

    def __reduce__(self):
        return open, ("exploited", "w")


def zipped(name: str, content: bytes, compression=zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def huge_header() -> bytes:
    """An array that claims to have 10^12 numbers, and has none."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 10**3)}
    )
    return header.getvalue()


def single_array() -> bytes:
    file = io.BytesIO()
    np.save(file, MEAN_TZ)
    return file.getvalue()


def whole_file() -> bytes:
    file = io.BytesIO()
    np.savez(file, mean=MEAN_TZ)
    return file.getvalue()


FILES = {
    "empty": b"",
    "text": b"mean = 3",
    "no zip": b"PK\x03\x04" + bytes(100),
    "an array": single_array(),
    "a broken array": b"\x93NUMPY" + whole_file(),
    "pickled": pickle.dumps(Exploit()),
    "pickled inside": zipped("mean.npy", pickle.dumps(Exploit())),
    "truncated": whole_file()[:-30],
    "half": whole_file()[: len(whole_file()) // 2],
    "a flipped bit": whole_file()[:200] + b"\xff" + whole_file()[201:],
    "no means": zipped("other.npy", whole_file()),
    "no array inside": zipped("mean.npy", b"none"),
    "a bomb": zipped("mean.npy", bytes(2**28 + 1), zipfile.ZIP_DEFLATED),
    "a huge claim": zipped("mean.npy", huge_header()),
    "a broken header": zipped("mean.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': open(1"),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_damaged_and_hostile_files_are_one_sentence(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"mine\.npz .*: give .*\.$") as refusal:
        Codes.load("mine.npz")
    assert "\n" not in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.npz"]


def test_paths_that_are_no_files_are_refused(codes, tmp_path):
    (tmp_path / "folder.npz").mkdir()
    for path in (tmp_path / "none.npz", tmp_path / "folder.npz", "/dev/zero"):
        with pytest.raises(InputError):
            Codes.load(path)
    with pytest.raises(InputError, match="does not end with"):
        codes.save(tmp_path / "mine.txt")
    with pytest.raises(InputError, match=r"folder\.npz"):
        codes.save(tmp_path / "folder.npz")


def test_codes_that_could_not_be_read_back_are_not_made(codes, tmp_path):
    for made_from in (None, 3, {"a": {2}}, {"a": np.zeros(2)}):
        with pytest.raises(InputError, match="made_from of codes is not a dict of JSON values"):
            Codes(MEAN_TZ, made_from=made_from)
    for path in (None, 3):
        for call in (Codes.load, codes.save):
            with pytest.raises(InputError, match=f"path={path} is not a path"):
                call(path)
    (tmp_path / "film.npz").write_bytes(b"no zip archive")
    with pytest.raises(InputError, match=r"film\.npz is not .* \(it has another format\)"):
        Codes.load(tmp_path / "film.npz")


def test_values_that_were_spoiled_in_place_are_not_written(codes, tmp_path):
    codes.mean[1, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        codes.save(tmp_path / "mine.npz")
    assert not list(tmp_path.iterdir())
