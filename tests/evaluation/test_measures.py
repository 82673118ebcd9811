"""Measures: equal to reference implementations, and right on films with known answers."""

import itertools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from tests.film.test_shots import scene
from vae_gan_jax.evaluation import evaluate, measures, summary
from vae_gan_jax.film import shots
from vae_gan_jax.model import networks, objectives
from vae_gan_jax.training import train_state

LENGTHS = (30, 18, 24)  # frames of the shots
RATE = Fraction(24)


@pytest.fixture(scope="module")
def film_THWC():
    """Three shots with a panning camera."""
    return np.concatenate([scene(seed, length) for seed, length in enumerate(LENGTHS)])


@pytest.fixture(scope="module")
def film_shots():
    edges = np.cumsum([0, *LENGTHS]).tolist()
    return [shots.Shot(*edge) for edge in itertools.pairwise(edges)]


def assess(source_THWC, output_THWC, film_shots, mean_TZ=None, rate=RATE):
    """What ``evaluate.assess`` returns for a pair of films, and the measures of each frame."""
    low = np.zeros((*(side // 4 for side in source_THWC.shape[1:3]), 3))
    measured, _ = measures.measure_frames(source_THWC, output_THWC, output_THWC, (low, low))
    frame_T = jax.tree.map(np.asarray, measured)
    frames = len(source_THWC)
    mean_TZ = np.zeros((frames, 2)) if mean_TZ is None else mean_TZ
    frame_T |= {"vmaf": None, "similarity": np.zeros(frames), "mean": mean_TZ}
    return evaluate.assess(frame_T, film_shots, rate, 0.0), frame_T


def shot_means(film_THWC, film_shots) -> np.ndarray:
    return np.concatenate(
        [
            np.broadcast_to(film.mean(0, keepdims=True), film.shape)
            for film in (film_THWC[shot.first : shot.stop] for shot in film_shots)
        ]
    )


def test_identity_retains_everything(film_THWC, film_shots):
    result, frame_T = assess(film_THWC, film_THWC, film_shots)
    for row in (result["whole"], *result["shots"]):
        assert row["psnr"] == pytest.approx(measures.MAX_PSNR)
        for name in ("ssim", "ms_ssim", "retention", "aligned_retention", "correlation"):
            assert row[name] == pytest.approx(1, abs=1e-4), name
        assert row["freeze_fraction"] == 0
    whole = result["whole"]
    assert whole["recognised_shot"] == whole["recognised_half_second"] == 1
    assert whole["collapsed_share"] == 0
    assert result["excluded"] == {"still_shots": 0}
    firsts = [shot.first for shot in film_shots]
    assert np.flatnonzero(np.isnan(frame_T["source_change"])).tolist() == firsts


def test_the_mean_of_a_shot_is_collapsed(film_THWC, film_shots):
    result, _ = assess(film_THWC, shot_means(film_THWC, film_shots).astype(np.uint8), film_shots)
    whole = result["whole"]
    assert whole["retention"] == whole["aligned_retention"] == 0
    assert whole["correlation"] is None  # a frozen film has no correlation
    assert whole["freeze_fraction"] == whole["collapsed_share"] == 1
    assert whole["recognised_shot"] > 0.9


def test_noise_raises_retention_but_not_aligned_retention(film_THWC, film_shots):
    """The noise makes R about 1; the mean of 16 values divides its deviation by four."""
    mean_THWC = shot_means(film_THWC, film_shots)
    noise_THWC = np.random.default_rng(0).normal(size=film_THWC.shape)
    changes = measures.changes(measures.low_pass(film_THWC), measures.low_pass(mean_THWC))
    within = np.ones(len(film_THWC) - 1, bool)
    within[[shot.first - 1 for shot in film_shots[1:]]] = False
    wanted = float(changes["source"][within].mean())
    std = wanted * 4 / np.sqrt(2) / np.sqrt(2 / np.pi)
    output_THWC = np.clip(np.round(mean_THWC + std * noise_THWC), 0, 255).astype(np.uint8)
    whole = assess(film_THWC, output_THWC, film_shots)[0]["whole"]
    assert whole["retention"] == pytest.approx(1, abs=0.15)
    assert abs(whole["aligned_retention"]) < 0.05
    assert whole["collapsed_share"] == 1


def test_half_the_movement_is_half_retained_and_a_frozen_shot_is_collapsed(film_THWC, film_shots):
    mean_THWC = shot_means(film_THWC, film_shots)
    output_THWC = np.round(mean_THWC + 0.5 * (film_THWC - mean_THWC)).astype(np.uint8)
    output_THWC[:30] = output_THWC[0]
    result, _ = assess(film_THWC, output_THWC, film_shots)
    assert result["shots"][0]["aligned_retention"] == 0
    for row in result["shots"][1:]:
        assert row["retention"] == pytest.approx(0.5, abs=0.02)
        assert row["aligned_retention"] == pytest.approx(0.5, abs=0.02)
        assert row["correlation"] == pytest.approx(1, abs=0.02)
    assert result["whole"]["collapsed_share"] == pytest.approx(30 / 72)


def test_still_shots_are_counted_but_excluded_from_collapse(film_THWC, film_shots):
    still_THWC = film_THWC.copy()
    still_THWC[:30] = still_THWC[0]
    flicker_THWC = still_THWC.copy()
    flicker_THWC[:30:2] = np.clip(flicker_THWC[:30:2], 20, 255) - 20
    result, _ = assess(still_THWC, flicker_THWC, film_shots)
    assert result["excluded"] == {"still_shots": 1}
    assert [row["still"] for row in result["shots"]] == [True, False, False]
    assert result["shots"][0]["retention"] is None
    assert result["whole"]["retention"] == pytest.approx(1)
    assert result["whole"]["collapsed_share"] == 0
    still_THWC[:] = still_THWC[0]
    whole = assess(still_THWC, film_THWC, [shots.Shot(0, 72)])[0]["whole"]
    assert whole["collapsed_share"] is None
    assert whole["aligned_retention"] is None


def test_learnt_and_held_out_frames_are_measured_apart(film_THWC, film_shots):
    """Learnt frames are perfect; held-out ones, in the middle of shots, are frozen and noisy."""
    held_out_T = np.zeros(72, bool)
    held_out_T[10:20] = held_out_T[35:45] = True
    noise_HWC = np.random.default_rng(0).integers(-30, 30, film_THWC.shape[1:])
    output_THWC = film_THWC.astype(int)
    output_THWC[10:20] = film_THWC[10] + noise_HWC
    output_THWC[35:45] = film_THWC[35] + noise_HWC
    output_THWC = output_THWC.clip(0, 255).astype(np.uint8)
    expected, frame_T = assess(film_THWC, output_THWC, film_shots)
    rows = expected["shots"]
    parts = summary.summarise_parts(frame_T, rows, {"learnt": ~held_out_T, "held_out": held_out_T})
    learnt, held_out, gap = parts["learnt"], parts["held_out"], parts["gap"]
    assert (learnt["frames"], held_out["frames"]) == (52, 20)
    assert learnt["psnr"] == pytest.approx(measures.MAX_PSNR)
    error = ((film_THWC[held_out_T].astype(float) - output_THWC[held_out_T]) ** 2).mean()
    assert held_out["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-4)
    # The jump into held-out frames belongs to neither part.
    assert learnt["retention"] == learnt["aligned_retention"] == pytest.approx(1, abs=1e-4)
    assert held_out["retention"] == held_out["aligned_retention"] == 0
    assert learnt["sharpness"] == pytest.approx(1, abs=1e-5)
    assert held_out["sharpness"] > 1.2
    assert learnt["recognised_half_second"] == 1
    assert gap["psnr"] == held_out["psnr"] - learnt["psnr"]
    assert gap["correlation"] is held_out["correlation"] is None
    assert "frames" not in gap
    every_T = np.ones(72, bool)
    whole = summary.summarise_parts(frame_T, rows, {"learnt": every_T, "held_out": held_out_T})
    for key, value in whole["learnt"].items():
        assert key == "frames" or expected["whole"][key] == value, key
    assert summary.summarise_parts(frame_T, rows, {}) == {}
    nothing = {"learnt": every_T, "held_out": ~every_T}
    assert summary.summarise_parts(frame_T, rows, nothing) == {}


def test_frames_of_other_shots_are_not_recognised(film_THWC, film_shots):
    """Each shot shows the pictures of the next shot."""
    shuffled_THWC = np.roll(film_THWC, -30, axis=0)
    whole = assess(film_THWC, shuffled_THWC, film_shots)[0]["whole"]
    assert whole["recognised_shot"] < 0.05
    late_THWC = film_THWC.copy()
    late_THWC[:30] = film_THWC[:30][::-1]
    whole = assess(film_THWC, late_THWC, film_shots)[0]["whole"]
    assert whole["recognised_shot"] == 1
    assert 0.5 < whole["recognised_half_second"] < 1


def test_black_frames_are_not_counted_in_recognition(film_THWC, film_shots):
    """Two shots end in black, so the nearest frame of a black one may lie in either."""
    film_THWC = film_THWC.copy()
    film_THWC[25:30] = film_THWC[67:72] = 0
    result, frame_T = assess(film_THWC, film_THWC, film_shots)
    assert result["whole"]["recognised_shot"] == 1
    assert np.isnan(frame_T["recognised_shot"][67:72]).all()


def test_error_on_black_and_psnr_by_brightness(film_THWC, film_shots):
    film_THWC, output_THWC = film_THWC.copy(), film_THWC.copy()
    film_THWC[:30], output_THWC[:30] = 0, 5
    output_THWC[30:] ^= 1  # off by one
    whole = assess(film_THWC, output_THWC, film_shots)[0]["whole"]
    assert whole["black_error"] == pytest.approx(5)
    classes = whole["psnr_by_brightness"]
    assert (classes[0]["low"], classes[0]["frames"]) == (0, 30)
    assert classes[0]["psnr"] == pytest.approx(20 * np.log10(255 / 5))
    assert sum(row["frames"] for row in classes) == 72
    for row in classes[1:]:
        expected = pytest.approx(20 * np.log10(255)) if row["frames"] else None
        assert row["psnr"] == expected
    assert assess(film_THWC[30:], output_THWC[30:], [shots.Shot(0, 42)])[0]["whole"][
        "black_error"
    ] is None  # fmt: skip


def test_the_darkest_fifth_of_the_frames(film_THWC, film_shots):
    """Fifteen of 72 frames."""
    film_THWC, output_THWC = film_THWC // 2 + 60, film_THWC // 2 + 60
    film_THWC[20:35], output_THWC[20:35] = 30, 35
    whole = assess(film_THWC, output_THWC, film_shots)[0]["whole"]
    assert whole["psnr_darkest_fifth"] == pytest.approx(20 * np.log10(255 / 5))
    output_THWC[19] += 9  # the sixteenth darkest
    whole = assess(film_THWC, output_THWC, film_shots)[0]["whole"]
    assert whole["psnr_darkest_fifth"] == pytest.approx(20 * np.log10(255 / 5))


def test_laplacian_energy_equals_scipy():
    frames_BHWC = np.random.default_rng(3).integers(0, 256, (3, 9, 14, 3), np.uint8)
    luma_BHW = frames_BHWC @ np.array(measures.LUMA)
    expected_B = [(ndimage.laplace(y_HW)[1:-1, 1:-1] ** 2).mean() for y_HW in luma_BHW]
    np.testing.assert_allclose(measures.laplacian_energy(frames_BHWC), expected_B, rtol=1e-5)


def test_sharpness_is_the_ratio_of_detail(film_THWC, film_shots):
    """Half the contrast has a quarter of the energy; a flat film has no sharpness."""
    film_THWC = film_THWC // 2 * 2
    assert assess(film_THWC, film_THWC, film_shots)[0]["whole"]["sharpness"] == pytest.approx(1)
    whole = assess(film_THWC, film_THWC // 2, film_shots)[0]["whole"]
    assert whole["sharpness"] == pytest.approx(1 / 4, rel=1e-4)
    film_THWC[:] = 7
    assert assess(film_THWC, film_THWC, film_shots)[0]["whole"]["sharpness"] is None


def test_psnr_of_a_film_comes_from_its_mean_squared_error(film_THWC, film_shots):
    output_THWC = film_THWC.copy()
    output_THWC[:30] ^= 8
    result, frame_T = assess(film_THWC, output_THWC, film_shots)
    assert frame_T["psnr"][0] == pytest.approx(20 * np.log10(255 / 8))
    expected = 10 * np.log10(255**2 / (64 * 30 / 72))
    assert result["whole"]["psnr"] == pytest.approx(expected)


def test_active_units_and_within_shot_variance(film_THWC, film_shots):
    """One unit differs between shots, one moves within each shot, one is constant."""
    number_T = np.repeat(np.arange(3.0), LENGTHS)
    within_T = np.concatenate([np.linspace(-0.4, 0.4, length) for length in LENGTHS])
    mean_TZ = np.stack([number_T, within_T, np.full(72, 0.5)], 1).astype(np.float32)
    whole = assess(film_THWC, film_THWC, film_shots, mean_TZ)[0]["whole"]
    assert whole["active_units"] == 2
    share = within_T.var() / (within_T.var() + number_T.var())
    assert whole["within_shot_variance_share"] == pytest.approx(share, rel=1e-4)
    whole = assess(film_THWC, film_THWC, film_shots, np.full((72, 3), 0.3, np.float32))[0]["whole"]
    assert (whole["active_units"], whole["within_shot_variance_share"]) == (0, None)


@pytest.mark.parametrize("frames", [1, 5])
def test_undefined_measures_of_a_short_film_are_none(frames):
    film_THWC = scene(0, frames)
    result, _ = assess(film_THWC, film_THWC, [shots.Shot(0, frames)])
    whole = result["whole"]
    assert whole["recognised_shot"] is whole["recognised_half_second"] is None
    assert whole["psnr"] == pytest.approx(measures.MAX_PSNR)
    assert (whole["retention"] is None) == (frames == 1)
    assert result["excluded"]["still_shots"] == (frames == 1)


def reference_ssim(x_HW, y_HW):
    """Means of SSIM and of its structure term, by definition, one window at a time."""
    offset = np.arange(11) - 5
    window = np.exp(-(offset[:, None] ** 2 + offset[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values, structures = [], []
    for row in range(x_HW.shape[0] - 10):
        for column in range(x_HW.shape[1] - 10):
            x, y = (a[row : row + 11, column : column + 11] for a in (x_HW, y_HW))
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
            cov = (window * (x - mx) * (y - my)).sum()
            structure = (2 * cov + (0.03 * 255) ** 2) / (vx + vy + (0.03 * 255) ** 2)
            c1 = (0.01 * 255) ** 2
            structures.append(structure)
            values.append(structure * (2 * mx * my + c1) / (mx**2 + my**2 + c1))
    return np.mean(values), np.mean(structures)


def test_ssim_and_ms_ssim_equal_the_reference():
    random = np.random.default_rng(1)
    source_BHWC = scene(0, 2, height=25, width=31)
    noise = random.normal(0, [[[[8]]], [[[60]]]], source_BHWC.shape)
    output_BHWC = np.clip(source_BHWC + noise, 0, 255).astype(np.uint8)
    ssim_B, ms_ssim_B = measures.ssim(source_BHWC, output_BHWC)
    assert measures.scales(25, 31) == 2
    for frame in range(2):
        x_HW, y_HW = (
            frames[frame] @ np.array([0.2126, 0.7152, 0.0722])
            for frames in (source_BHWC, output_BHWC)
        )
        expected, structure = reference_ssim(x_HW, y_HW)
        assert float(ssim_B[frame]) == pytest.approx(expected, abs=1e-4)
        half_x, half_y = (a[:24, :30].reshape(12, 2, 15, 2).mean((1, 3)) for a in (x_HW, y_HW))
        last, _ = reference_ssim(half_x, half_y)
        exponents = np.array([0.0448, 0.2856]) / (0.0448 + 0.2856)
        expected = max(structure, 0) ** exponents[0] * max(last, 0) ** exponents[1]
        assert float(ms_ssim_B[frame]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("size", "count"), [((16, 16), 1), ((72, 128), 3), ((144, 256), 4),
                                             ((176, 300), 5), ((720, 1280), 5)])  # fmt: skip
def test_ms_ssim_uses_the_scales_that_fit(size, count):
    assert measures.scales(*size) == count


def test_nearest_has_the_least_squared_error():
    random = np.random.default_rng(0)
    frames_TP, candidates_NP = (
        random.integers(0, 256, (count, 30), dtype=np.uint8) for count in (70, 23)
    )
    distance_TN = ((frames_TP[:, None].astype(int) - candidates_NP[None]) ** 2).sum(-1)
    expected_T = distance_TN.argmin(1)
    np.testing.assert_array_equal(measures.nearest(frames_TP, candidates_NP, block=32), expected_T)
    distance_TN[np.arange(70), expected_T] = 10**9
    again_T = measures.nearest(frames_TP, candidates_NP, expected_T)
    np.testing.assert_array_equal(again_T, distance_TN.argmin(1))


def test_similarity_equals_the_objective_with_running_statistics(small, frames_THWC):
    """A frame's value does not depend on the other frames of its batch."""
    state = train_state.create(small, jax.random.key(0))
    discriminator = networks.create(small)["discriminator"]
    variables = {
        "params": state.params["discriminator"],
        "batch_stats": state.batch_stats["discriminator"],
    }

    @jax.jit
    def similarity(*pair):
        return measures.similarity(small.step, state.inference_variables, *pair)

    @jax.jit
    def objective(*pair):
        x = (frames.astype(jnp.float32) / 127.5 - 1 for frames in pair)
        activations = [discriminator.apply(variables, x_BHWC, train=False)[1] for x_BHWC in x]
        return objectives.learned_similarity(*activations)

    pair = frames_THWC[:4], frames_THWC[4:8]
    similarity_B = similarity(*pair)
    np.testing.assert_allclose(similarity_B.mean(), objective(*pair), rtol=1e-4)
    others = [np.concatenate([frames[:1], frames_THWC[7:]]) for frames in pair]
    np.testing.assert_allclose(similarity(*others)[0], similarity_B[0], rtol=1e-4)
    np.testing.assert_array_equal(similarity(pair[0], pair[0]), np.zeros(4))


def test_long_films_are_recognised_among_fewer_candidates(monkeypatch, film_THWC, film_shots):
    """With 6 candidates required, every 12th of 72 frames is a candidate."""
    monkeypatch.setattr(summary, "MIN_CANDIDATES", 6)
    whole = assess(film_THWC, film_THWC, film_shots)[0]["whole"]
    assert whole["recognised_shot"] == whole["recognised_half_second"] == 1
