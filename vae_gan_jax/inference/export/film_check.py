"""Compares the exported networks with the model over the whole film, and collects its codes."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np
import onnxruntime
from jax import export as jax_export
from tqdm import tqdm

from vae_gan_jax.config import InputError
from vae_gan_jax.film.film_scan import FilmScan
from vae_gan_jax.film.read.reader import FilmReader
from vae_gan_jax.inference.codes import Codes
from vae_gan_jax.inference.export import model_files
from vae_gan_jax.inference.reconstruct import decode_batch, encode_batch, map_batches
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.run import exported
from vae_gan_jax.training import train_state

PIXEL_LIMITS = {"float32": 1, "float16": 2}  # of 255
LOG_VARIANCE_LIMITS = {"float32": 1e-3, "float16": 2e-2}  # log variances lie in -0.5..0.5
SAMPLES = 6  # frames of the sample picture


@dataclasses.dataclass(frozen=True)
class Check:
    """The largest difference between a file and the model, and its limit."""

    file: str
    what: str
    unit: str
    limit: float
    largest: float = 0.0

    def with_difference(self, a: np.ndarray, b: np.ndarray) -> "Check":
        """Also compares these arrays."""
        difference = np.abs(np.subtract(a, b, dtype=np.float32)).max(initial=0.0)
        return dataclasses.replace(self, largest=float(np.maximum(self.largest, difference)))

    @property
    def passed(self) -> bool:
        """False also for values that are not finite."""
        return self.largest <= self.limit


@dataclasses.dataclass(frozen=True)
class CheckedFilms:
    """The results of a pass over the films."""

    codes: list[Codes]  # of each film
    samples: np.ndarray  # frames above their reconstructions, uint8 [H, W, 3]
    checks: list[Check]

    @property
    def frames(self) -> int:
        """The number of frames of all films."""
        return sum(map(len, self.codes))


def check(folder: Path, model: Model, precision: str, films: Iterable[FilmReader]) -> CheckedFilms:
    """Passes all frames of the films through the files and the model, which computes in float32.

    ``precision`` is that of the ONNX files. Raises InputError if a film cannot be read, or a file
    differs from the model by more than its limit.
    """
    weights_check = _check_weights(folder, model)
    onnx_check = OnnxCheck(folder, model, precision)
    codes = [onnx_check.encode(film) for film in films]
    stablehlo_checks = _check_stablehlo(folder, model, onnx_check.samples[:, 0])
    checks = [weights_check, *stablehlo_checks, *onnx_check.checks.values()]
    for each in checks:
        if not each.passed:
            raise InputError(
                f"{each.file} differs from the model by {each.largest:.3g} {each.unit} "
                f"({each.what}), more than {each.limit:g}, so nothing is exported: "
                + ("give --precision=float32." if precision == "float16" else "report this error.")
            )
    pictures = np.concatenate([np.concatenate(pair) for pair in onnx_check.samples], axis=1)
    return CheckedFilms(codes, pictures, checks)


class OnnxCheck:
    """Encodes films with the model, and compares the ONNX files with it."""

    def __init__(self, folder: Path, model: Model, precision: str):
        self._model, self._samples = model, []
        names = ("encoder", "decoder", "autoencoder")
        self._sessions = {name: open_session(folder / f"{name}.onnx") for name in names}
        pixels = "of 255", PIXEL_LIMITS[precision]
        self.checks = {
            "encoder": Check("encoder.onnx", "the model's frames from its `mean`", *pixels),
            "log_variance": Check(
                "encoder.onnx", "`log_variance`", "", LOG_VARIANCE_LIMITS[precision]
            ),
            "decoder": Check("decoder.onnx", "its frames from the model's codes", *pixels),
            "autoencoder": Check("autoencoder.onnx", "`reconstruction`", *pixels),
        }

    @property
    def samples(self) -> np.ndarray:
        """Up to ``SAMPLES`` pairs of a frame and its reconstruction, uint8 ``[S, 2, H, W, 3]``."""
        return np.stack(self._samples[:SAMPLES])

    def encode(self, film: FilmReader) -> Codes:
        """Encodes a film and compares every frame."""
        scan, parts = FilmScan(), []
        frames = tqdm(film.frames(), f"checking with {film.name}", film.count, unit="frame")
        every = max(1, film.count // SAMPLES)
        count = 0
        batches = map_batches(
            self._through_model, scan.watch(frames), self._model.config.batch_size
        )
        for frames_BHWC, (mean_BZ, log_variance_BZ, output_BHWC) in batches:
            self._compare(frames_BHWC, mean_BZ, log_variance_BZ, output_BHWC)
            parts.append((mean_BZ, log_variance_BZ))
            for index in range((every // 2 - count) % every, len(frames_BHWC), every):
                self._samples.append(np.stack([frames_BHWC[index], output_BHWC[index]]))
            count += len(frames_BHWC)
        mean_TZ, log_variance_TZ = map(np.concatenate, zip(*parts, strict=True))
        times_T = np.arange(count) / float(film.rate)
        return Codes(mean_TZ, log_variance_TZ, times_T, film.rate, scan.shots)

    def _through_model(self, _, frames_BHWC, __):
        step, variables = self._model.config.step, self._model.fused
        mean_BZ, log_variance_BZ = encode_batch(step, variables, frames_BHWC)
        return mean_BZ, log_variance_BZ, decode_batch(step, variables, mean_BZ)

    def _compare(self, frames_BHWC, mean_BZ, log_variance_BZ, output_BHWC) -> None:
        sessions = self._sessions
        onnx_mean_BZ, onnx_log_variance_BZ = sessions["encoder"].run(None, {"frames": frames_BHWC})
        decoded_BHWC = next(iter(self._model.decode_batches(onnx_mean_BZ)))
        pairs = {
            "encoder": (decoded_BHWC, output_BHWC),
            "log_variance": (onnx_log_variance_BZ, log_variance_BZ),
            "decoder": (*sessions["decoder"].run(None, {"z": mean_BZ}), output_BHWC),
            "autoencoder": (
                *sessions["autoencoder"].run(None, {"frames": frames_BHWC}),
                output_BHWC,
            ),
        }
        for name, pair in pairs.items():
            self.checks[name] = self.checks[name].with_difference(*pair)


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """An ONNX file on this machine's processor."""
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def _check_weights(folder: Path, model: Model) -> Check:
    """``weights.safetensors`` has the model's variables, bit for bit."""
    result = Check(exported.WEIGHTS, "all arrays", "", 0)
    arrays = exported.read_arrays(folder)
    for name, leaf in train_state.flat(model.variables).items():
        result = result.with_difference(arrays[name], np.asarray(leaf))
    return result


def _check_stablehlo(folder: Path, model: Model, frames_BHWC: np.ndarray) -> Iterable[Check]:
    """StableHLO equals the same compiled functions bit for bit, in two batch sizes."""
    functions = model_files.functions(model)
    encode, decode = (_load_stablehlo(folder / f"{name}.stablehlo") for name in functions)
    results = {
        name: Check(f"{name}.stablehlo", "results for two batches", "", 0) for name in functions
    }
    for batch in (frames_BHWC, frames_BHWC[:1]):
        expected = jax.device_get(functions["encoder"](batch))
        for pair in zip(jax.device_get(encode(batch)), expected, strict=True):
            results["encoder"] = results["encoder"].with_difference(*pair)
        pair = decode(expected[0]), functions["decoder"](expected[0])
        results["decoder"] = results["decoder"].with_difference(*jax.device_get(pair))
    return results.values()


def _load_stablehlo(path: Path):
    return jax_export.deserialize(bytearray(path.read_bytes())).call
