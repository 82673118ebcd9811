"""``--mode=export``: the folder, its checks, the programs that read it, and what is refused."""

import dataclasses
import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from fractions import Fraction
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import vae_gan_jax
from tests import runs
from vae_gan_jax import modes
from vae_gan_jax.config import InputError
from vae_gan_jax.film.store import preparation, run_frames
from vae_gan_jax.inference.codes import Codes
from vae_gan_jax.inference.export import codes_npz, export, film_check, model_files
from vae_gan_jax.run import exported, film_names, provenance
from vae_gan_jax.training import pretrained, train_state
from vae_gan_jax.training.distributed import mesh

pytestmark = pytest.mark.usefixtures("log_closed")
FILES = {
    *("README.md", "autoencoder.onnx", "codes.npz", "config.json", "decoder.onnx"),
    *("decoder.stablehlo", "encoder.onnx", "encoder.stablehlo", "sample.png"),
    "weights.safetensors",
}


def learn(run_dir, small, film, frames_THWC, **settings) -> Path:
    """A run that learnt the film, with prepared frames and measures."""
    config = runs.make(run_dir, small, film, frames_THWC, crop="none", **settings)
    folder = run_frames.store_folder(config)
    store = preparation.prepare([str(film)], folder, run_frames.framing_of(config))
    film_names.record_learnt_films(config.run_dir, store.manifest["films"])
    return run_dir


@pytest.fixture(scope="module")
def run_dir(small, film, frames_THWC, tmp_path_factory) -> Path:
    """A run of thesis networks with measures of its checkpoint."""
    run_dir = learn(tmp_path_factory.mktemp("runs") / "mine", small, film, frames_THWC)
    measures = run_dir / "measures" / "film.json"
    measures.parent.mkdir()
    measures.write_text(json.dumps({"whole": {"psnr": 31.4159, "ssim": None}}))
    checkpoint = vae_gan_jax.open(run_dir).checkpoint
    provenance.record(run_dir, "measures/film", {"checkpoint": checkpoint}, [measures])
    return run_dir


def export_run(run_dir, **settings) -> Path:
    config = modes.resolve({"run_dir": str(run_dir), **settings}, "export")
    export.export_run(config)
    return Path(config.output or run_dir / "export")


@pytest.fixture(scope="module")
def folder(run_dir) -> Path:
    return export_run(run_dir)


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def refuse(words: str, function, *arguments, **settings) -> None:
    with pytest.raises(InputError, match=words) as error:
        function(*arguments, **settings)
    assert "\n" not in str(error.value)


def run_without_the_project(program: str, work: Path) -> None:
    """Runs a program that cannot import this project."""
    program = f"import sys; sys.modules['vae_gan_jax'] = None\n{program}"
    subprocess.run([sys.executable, "-I", "-c", program], cwd=work, check=True, timeout=120)


def test_the_folder_has_its_files_and_no_path_of_this_machine(folder, run_dir, film):
    assert {path.name for path in folder.iterdir()} == FILES
    assert exported.read(folder).files == FILES - {"config.json"}
    for path in folder.iterdir():
        assert os.fsencode(run_dir.parent) not in path.read_bytes(), path
        assert os.fsencode(film.parent) not in path.read_bytes(), path
    assert not [path for path in run_dir.iterdir() if path.name.endswith((".partial", ".former"))]
    entry = provenance.recorded(run_dir, "export/export")
    assert provenance.is_current(run_dir, "export/export", entry)
    assert entry["checkpoint"] == vae_gan_jax.open(run_dir).checkpoint


def test_the_card(folder):
    card = (folder / "README.md").read_text()
    head, _, text = card.removeprefix("---\n").partition("\n---\n")
    assert "library_name: onnx" in head
    assert "\n- vae-gan" in head
    assert re.findall("^license", head, re.M) == []  # it is the user's choice
    assert "# film, as a network sees it" in text
    assert "| film | PSNR, dB | 31.42 |" in text
    assert "SSIM" not in text
    assert "over 26 frames" in text
    checks = re.findall(r"^\| `([\w.]+)` \| .+ \| (.+) \| ([\d.]+) \|$", text, re.M)
    assert {name for name, *_ in checks} == {
        *("encoder.onnx", "decoder.onnx", "autoencoder.onnx", "weights.safetensors"),
        *("encoder.stablehlo", "decoder.stablehlo"),
    }
    assert [difference for name, difference, _ in checks if "onnx" not in name] == (
        ["none, bit for bit"] * 3
    )
    assert {limit for name, _, limit in checks if name == "autoencoder.onnx"} == {"1"}
    sample = np.asarray(Image.open(folder / "sample.png"))
    assert sample.shape == (2 * 18, 6 * 20, 3)


def test_ten_lines_of_the_card_run_without_the_project(copy, run_dir):
    (program,) = re.findall("```python\n(.*?)```", (copy / "README.md").read_text(), re.S)
    assert len([line for line in program.splitlines() if line and "import" not in line]) <= 10
    run_without_the_project(program, copy)
    model = vae_gan_jax.open(run_dir)
    frames = np.asarray(Image.open(copy / "sample.png"))[None, :18, :20]
    expected = model.decode(model.encode(frames).mean)[0]
    result = np.asarray(Image.open(copy / "reconstruction.png"))
    assert np.abs(np.subtract(result, expected, dtype=int)).max() <= 1


def test_stablehlo_reloads_without_the_project_bit_for_bit(copy, run_dir, frames_THWC):
    functions = model_files.functions(vae_gan_jax.open(run_dir))
    np.save(copy / "frames.npy", frames_THWC)
    run_without_the_project(
        """
import jax.export
import numpy as np

frames = np.load("frames.npy")
assert not [name for name in sys.modules if name.startswith(("flax", "vae_gan_jax."))]
encoder, decoder = (
    jax.export.deserialize(bytearray(open(f"{name}.stablehlo", "rb").read()))
    for name in ("encoder", "decoder")
)
assert encoder.platforms == decoder.platforms == ("cpu", "cuda", "tpu")
mean, log_variance = encoder.call(frames)
assert len(encoder.call(frames[:0])[0]) == len(decoder.call(mean[:0])) == 0
np.savez("results.npz", mean=mean, log_variance=log_variance, frames=decoder.call(mean))
""",
        copy,
    )
    mean, log_variance = functions["encoder"](frames_THWC)
    expected = {"mean": mean, "log_variance": log_variance, "frames": functions["decoder"](mean)}
    with np.load(copy / "results.npz") as results:
        for name, array in expected.items():
            np.testing.assert_array_equal(results[name], array)


def test_codes_of_the_film(folder, run_dir):
    path = folder / "codes.npz"
    with zipfile.ZipFile(path) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    model = vae_gan_jax.open(run_dir)
    codes = model.encode_film()
    directions = model.directions(3, codes)
    with np.load(path) as arrays:
        np.testing.assert_array_equal(arrays["codes"], codes.mean)
        np.testing.assert_allclose(arrays["code_times"], np.arange(26) / 23.976, rtol=1e-4)
        np.testing.assert_allclose(arrays["mean"], directions.mean_Z, rtol=1e-6)
        np.testing.assert_allclose(arrays["directions"], directions.components_KZ, rtol=1e-6)
        np.testing.assert_allclose(arrays["deviations"], directions.std_K, rtol=1e-6)
        assert len(arrays["shot_codes"]) == len(arrays["shot_starts"]) == len(codes.shots)
        assert arrays["seconds"] == pytest.approx(26 / 23.976, rel=1e-4)
        assert json.loads(str(arrays["provenance"]))["checkpoint"] == model.checkpoint
        assert {a.dtype for n, a in arrays.items() if n != "provenance"} == {np.dtype(np.float32)}


def test_codes_of_several_long_films_follow_one_another_and_are_thinned():
    random = np.random.default_rng(0)
    films = [
        Codes(random.normal(size=(n, 2)), None, np.arange(n) / 10, Fraction(10), [[0, 7], [7, n]])
        for n in (1400, 800)
    ]
    packed = codes_npz.pack(films, {})
    with np.load(io.BytesIO(packed)) as arrays:
        assert len(arrays["codes"]) == len(arrays["code_times"]) == 734
        np.testing.assert_allclose(np.diff(arrays["code_times"]), 0.3, atol=1e-4)
        np.testing.assert_allclose(arrays["shot_starts"], [0, 0.7, 140, 140.7], rtol=1e-6)
        np.testing.assert_allclose(arrays["shot_codes"][2], films[1].mean[:7].mean(0), rtol=1e-5)
        assert arrays["seconds"] == 220


def test_codes_of_a_single_frame_have_no_directions():
    film = Codes(np.ones((1, 2)), None, np.zeros(1), Fraction(24), [[0, 1]])
    with np.load(io.BytesIO(codes_npz.pack([film], {}))) as arrays:
        assert arrays["directions"].shape == (0, 2)
        assert arrays["deviations"].shape == (0,)


def test_an_export_opens_as_a_model_without_a_film(copy, run_dir, frames_THWC):
    model, expected = vae_gan_jax.open(copy), vae_gan_jax.open(run_dir)
    codes = model.encode(frames_THWC)
    np.testing.assert_array_equal(codes.mean, expected.encode(frames_THWC).mean)
    np.testing.assert_array_equal(model.decode(codes.mean), expected.decode(codes.mean))
    np.testing.assert_array_equal(model.sample(2), expected.sample(2))
    assert model.directions(2, codes).components_KZ.shape == (2, 3)
    assert (model.step, model.checkpoint) == (expected.step, expected.checkpoint)
    for use in (lambda: model.film, model.encode_film, lambda: model.directions(1)):
        refuse("is an export, which has no film", use)
    refuse("--width=64 disagrees", vae_gan_jax.open, copy, width=64)
    assert {path.name for path in copy.iterdir()} == FILES


def test_a_film_through_an_export(copy, run_dir, film, tmp_path):
    model, expected = vae_gan_jax.open(copy, crop="none"), vae_gan_jax.open(run_dir)
    np.testing.assert_array_equal(model.encode_film(film).mean, expected.encode_film().mean)
    assert model.reconstruct(film, output=tmp_path / "film.mp4").stat().st_size
    assert {path.name for path in copy.iterdir()} == FILES


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("weights.safetensors", b""),
        ("weights.safetensors", b"\xff" * 100),
        ("weights.safetensors", None),
        ("config.json", b'{"format": "vae_gan_jax export 1"}'),
        ("config.json", b'{"format": "vae_gan_jax export 1", "settings": {"width": 1}}'),
        ("config.json", b'{"format": "vae_gan_jax export 1", "settings": [' + b"[" * 9),
    ],
)
def test_a_damaged_export_is_refused(copy, file, content):
    if content is None:
        (copy / file).unlink()
    else:
        (copy / file).write_bytes(content)
    refuse(f"{file}|is not a run folder", vae_gan_jax.open, copy)


@pytest.mark.parametrize(
    "wrong", [{"step": "3"}, {"step": 3.5}, {"step": -3}, {"files": "a"}, {"checkpoint": 3}]
)
def test_a_config_with_a_value_of_another_kind_is_refused(copy, wrong):
    path = copy / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    refuse("config.json is damaged or foreign", exported.read, copy)


def test_weights_of_other_networks_are_refused(copy):
    path = copy / "config.json"
    path.write_text(path.read_text().replace('"filters": 2', '"filters": 3'))
    refuse("weights.safetensors does not fit", vae_gan_jax.open, copy)


def test_training_starts_from_an_export(small, folder, run_dir, tmp_path):
    config = dataclasses.replace(small, run_dir=str(tmp_path), init_from=str(folder))
    pretrained.check(config)
    fresh = mesh.place_state(config, train_state.create(config, jax.random.key(5)))
    state = pretrained.begin(config, fresh)
    variables = vae_gan_jax.open(run_dir).variables
    assert jax.tree.structure(state.inference_variables) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, state.inference_variables, variables)
    assert int(state.step) == 0
    refuse("--filters=3 does not fit", pretrained.check, dataclasses.replace(config, filters=3))


def test_a_later_export_replaces_an_earlier_one_but_no_other_files(run_dir, copy):
    (copy / "decoder.onnx").write_bytes(b"old")
    (copy / "notes.txt").write_text("mine")
    refuse("such as notes.txt", export_run, run_dir, output=str(copy))
    assert (copy / "decoder.onnx").read_bytes() == b"old"
    (copy / "notes.txt").unlink()
    export_run(run_dir, output=str(copy), precision="float16")
    assert {path.name for path in copy.iterdir()} == FILES
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]
    assert json.loads((copy / "config.json").read_text())["precision"] == "float16"


def test_an_export_that_fails_its_check_leaves_nothing(run_dir, copy, tmp_path, monkeypatch):
    monkeypatch.setitem(film_check.PIXEL_LIMITS, "float32", -1)
    refuse("encoder.onnx differs from the model", export_run, run_dir, output=str(copy))
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
    assert {path.name for path in copy.iterdir()} == FILES


@pytest.mark.parametrize("difference", [np.nan, 0.5])
def test_a_check_notices_any_difference(difference):
    check = film_check.Check("file", "what", "", 0.0)
    assert check.with_difference(np.zeros(3), np.zeros(3)).passed
    different = check.with_difference(np.zeros(3), np.array([0, difference, 0]))
    assert not different.passed
    assert not different.with_difference(np.zeros(3), np.zeros(3)).passed
    levels = film_check.Check("file", "what", "", 1)
    assert not levels.with_difference(np.uint8([3]), np.uint8([5])).passed


def test_a_full_disk_leaves_nothing(run_dir, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "weights.safetensors")

    monkeypatch.setattr(model_files, "write_safetensors", full)
    refuse(
        "new cannot be written .No space left", export_run, run_dir, output=str(tmp_path / "new")
    )
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_refused(run_dir, small, tmp_path, monkeypatch):
    new = {"output": str(tmp_path / "new")}
    refuse("no checkpoint", export_run, tmp_path, **new)
    refuse("--precision=bfloat16 is not for", export_run, run_dir, precision="bfloat16", **new)
    refuse("does not exist", export_run, run_dir, output=str(tmp_path / "a" / "b"))
    (tmp_path / "file").write_text("")
    refuse("is not a folder", export_run, run_dir, output=str(tmp_path / "file"))
    refuse("has files that are not of an export", export_run, run_dir, output=str(run_dir))
    for mode in ("train", "reconstruct", "decode"):
        given = {"run_dir": str(run_dir), "precision": "float16"}
        refuse("--precision=float16 is for --mode=export", modes.resolve, given, mode)
    monkeypatch.setattr(export, "PACKAGES", ("onnx", "missing_package"))
    refuse("install the extra export", export_run, run_dir, **new)


@pytest.mark.slow
def test_an_export_of_residual_networks(small, film, frames_THWC, tmp_path):
    run_dir = learn(tmp_path / "run", small, film, frames_THWC, networks="residual")
    folder = export_run(run_dir, precision="float16")
    model, expected = vae_gan_jax.open(folder), vae_gan_jax.open(run_dir)
    codes = model.encode(frames_THWC)
    np.testing.assert_array_equal(codes.mean, expected.encode(frames_THWC).mean)
    np.testing.assert_array_equal(model.decode(codes.mean), expected.decode(codes.mean))
