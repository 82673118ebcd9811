"""Measures against references written here, and against films of which the answer is known."""

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

LENGTHS = (30, 18, 24)
RATE = Fraction(24)


@pytest.fixture(scope="module")
def film_THWC():
    """Three shots with a panning camera."""
    return np.concatenate([scene(seed, length) for seed, length in enumerate(LENGTHS)])


@pytest.fixture(scope="module")
def found():
    edges = np.cumsum([0, *LENGTHS]).tolist()
    return [shots.Shot(*edge) for edge in itertools.pairwise(edges)]


def assessed(source_THWC, output_THWC, found, mean_TZ=None, rate=RATE):
    """The JSON's whole, shots and excluded, and the measures by frame, of a film and another."""
    low = np.zeros((*(side // 4 for side in source_THWC.shape[1:3]), 3))
    measured, _ = measures.measure_frames(source_THWC, output_THWC, output_THWC, (low, low))
    frame_T = jax.tree.map(np.asarray, measured)
    frames = len(source_THWC)
    mean_TZ = np.zeros((frames, 2)) if mean_TZ is None else mean_TZ
    frame_T |= {"vmaf": None, "similarity": np.zeros(frames), "mean": mean_TZ}
    return evaluate.assess(frame_T, found, rate, 0.0), frame_T


def shot_means(film_THWC, found) -> np.ndarray:
    return np.concatenate(
        [
            np.broadcast_to(film.mean(0, keepdims=True), film.shape)
            for film in (film_THWC[shot.first : shot.stop] for shot in found)
        ]
    )


def test_identity_retains_everything(film_THWC, found):
    result, frame_T = assessed(film_THWC, film_THWC, found)
    for row in (result["whole"], *result["shots"]):
        assert row["psnr"] == pytest.approx(measures.MAX_PSNR)
        for name in ("ssim", "ms_ssim", "retention", "aligned_retention", "correlation"):
            assert row[name] == pytest.approx(1, abs=1e-4), name
        assert row["freeze_fraction"] == 0
    whole = result["whole"]
    assert whole["recognised_shot"] == whole["recognised_half_second"] == 1
    assert whole["collapsed_share"] == 0
    assert result["excluded"] == {"still_shots": 0}
    firsts = [shot.first for shot in found]
    assert np.flatnonzero(np.isnan(frame_T["source_change"])).tolist() == firsts


def test_the_mean_of_a_shot_is_collapsed(film_THWC, found):
    result, _ = assessed(film_THWC, shot_means(film_THWC, found).astype(np.uint8), found)
    whole = result["whole"]
    assert whole["retention"] == whole["aligned_retention"] == 0
    assert whole["correlation"] is None  # of nothing
    assert whole["freeze_fraction"] == whole["collapsed_share"] == 1
    assert whole["recognised_shot"] > 0.9


def test_noise_fakes_retention_but_not_alignment(film_THWC, found):
    """As much noise as makes R about 1: means of 16 values shrink it by four."""
    mean_THWC = shot_means(film_THWC, found)
    noise_THWC = np.random.default_rng(0).normal(size=film_THWC.shape)
    changes = measures.changes(measures.low_pass(film_THWC), measures.low_pass(mean_THWC))
    within = np.ones(len(film_THWC) - 1, bool)
    within[[shot.first - 1 for shot in found[1:]]] = False
    wanted = float(changes["source"][within].mean())
    std = wanted * 4 / np.sqrt(2) / np.sqrt(2 / np.pi)
    output_THWC = np.clip(np.round(mean_THWC + std * noise_THWC), 0, 255).astype(np.uint8)
    whole = assessed(film_THWC, output_THWC, found)[0]["whole"]
    assert whole["retention"] == pytest.approx(1, abs=0.15)
    assert abs(whole["aligned_retention"]) < 0.05
    assert whole["collapsed_share"] == 1


def test_half_the_movement_is_half_retained_and_one_frozen_shot_is_its_share(film_THWC, found):
    mean_THWC = shot_means(film_THWC, found)
    output_THWC = np.round(mean_THWC + 0.5 * (film_THWC - mean_THWC)).astype(np.uint8)
    output_THWC[:30] = output_THWC[0]
    result, _ = assessed(film_THWC, output_THWC, found)
    assert result["shots"][0]["aligned_retention"] == 0
    for row in result["shots"][1:]:
        assert row["retention"] == pytest.approx(0.5, abs=0.02)
        assert row["aligned_retention"] == pytest.approx(0.5, abs=0.02)
        assert row["correlation"] == pytest.approx(1, abs=0.02)
    assert result["whole"]["collapsed_share"] == pytest.approx(30 / 72)


def test_shots_without_movement_are_left_out_of_collapse_and_counted(film_THWC, found):
    still_THWC = film_THWC.copy()
    still_THWC[:30] = still_THWC[0]
    flicker_THWC = still_THWC.copy()
    flicker_THWC[:30:2] = np.clip(flicker_THWC[:30:2], 20, 255) - 20
    result, _ = assessed(still_THWC, flicker_THWC, found)
    assert result["excluded"] == {"still_shots": 1}
    assert [row["still"] for row in result["shots"]] == [True, False, False]
    assert result["shots"][0]["retention"] is None
    assert result["whole"]["retention"] == pytest.approx(1)
    assert result["whole"]["collapsed_share"] == 0
    still_THWC[:] = still_THWC[0]
    whole = assessed(still_THWC, film_THWC, [shots.Shot(0, 72)])[0]["whole"]
    assert whole["collapsed_share"] is None
    assert whole["aligned_retention"] is None


def test_frames_of_other_shots_are_not_recognised(film_THWC, found):
    """Each shot shows the next one's pictures."""
    shuffled_THWC = np.roll(film_THWC, -30, axis=0)
    whole = assessed(film_THWC, shuffled_THWC, found)[0]["whole"]
    assert whole["recognised_shot"] < 0.05
    late_THWC = film_THWC.copy()
    late_THWC[:30] = film_THWC[:30][::-1]
    whole = assessed(film_THWC, late_THWC, found)[0]["whole"]
    assert whole["recognised_shot"] == 1
    assert 0.5 < whole["recognised_half_second"] < 1


def test_black_frames_are_not_counted_in_recognition(film_THWC, found):
    """Black at the ends of two shots: a black frame's nearest may lie in either."""
    film_THWC = film_THWC.copy()
    film_THWC[25:30] = film_THWC[67:72] = 0
    result, frame_T = assessed(film_THWC, film_THWC, found)
    assert result["whole"]["recognised_shot"] == 1
    assert np.isnan(frame_T["recognised_shot"][67:72]).all()


def test_darkness(film_THWC, found):
    film_THWC, output_THWC = film_THWC.copy(), film_THWC.copy()
    film_THWC[:30], output_THWC[:30] = 0, 5
    output_THWC[30:] ^= 1  # off by one
    whole = assessed(film_THWC, output_THWC, found)[0]["whole"]
    assert whole["black_error"] == pytest.approx(5)
    classes = whole["psnr_by_brightness"]
    assert (classes[0]["low"], classes[0]["frames"]) == (0, 30)
    assert classes[0]["psnr"] == pytest.approx(20 * np.log10(255 / 5))
    assert sum(row["frames"] for row in classes) == 72
    for row in classes[1:]:
        expected = pytest.approx(20 * np.log10(255)) if row["frames"] else None
        assert row["psnr"] == expected
    assert assessed(film_THWC[30:], output_THWC[30:], [shots.Shot(0, 42)])[0]["whole"][
        "black_error"
    ] is None  # fmt: skip


def test_the_darkest_fifth_of_the_frames(film_THWC, found):
    """Fifteen of 72 frames, wherever they lie."""
    film_THWC, output_THWC = film_THWC // 2 + 60, film_THWC // 2 + 60
    film_THWC[20:35], output_THWC[20:35] = 30, 35
    whole = assessed(film_THWC, output_THWC, found)[0]["whole"]
    assert whole["psnr_darkest_fifth"] == pytest.approx(20 * np.log10(255 / 5))
    output_THWC[19] += 9  # the next
    whole = assessed(film_THWC, output_THWC, found)[0]["whole"]
    assert whole["psnr_darkest_fifth"] == pytest.approx(20 * np.log10(255 / 5))


def test_laplacian_energy_is_that_of_scipy():
    frames_BHWC = np.random.default_rng(3).integers(0, 256, (3, 9, 14, 3), np.uint8)
    luma_BHW = frames_BHWC @ np.array(measures.LUMA)
    expected_B = [(ndimage.laplace(y_HW)[1:-1, 1:-1] ** 2).mean() for y_HW in luma_BHW]
    np.testing.assert_allclose(measures.laplacian_energy(frames_BHWC), expected_B, rtol=1e-5)


def test_sharpness_is_the_ratio_of_detail(film_THWC, found):
    """Half the contrast is a quarter of the energy; a flat film has no sharpness."""
    film_THWC = film_THWC // 2 * 2
    assert assessed(film_THWC, film_THWC, found)[0]["whole"]["sharpness"] == pytest.approx(1)
    whole = assessed(film_THWC, film_THWC // 2, found)[0]["whole"]
    assert whole["sharpness"] == pytest.approx(1 / 4, rel=1e-4)
    film_THWC[:] = 7
    assert assessed(film_THWC, film_THWC, found)[0]["whole"]["sharpness"] is None


def test_psnr_of_a_film_is_that_of_its_mean_squared_error(film_THWC, found):
    output_THWC = film_THWC.copy()
    output_THWC[:30] ^= 8
    result, frame_T = assessed(film_THWC, output_THWC, found)
    assert frame_T["psnr"][0] == pytest.approx(20 * np.log10(255 / 8))
    expected = 10 * np.log10(255**2 / (64 * 30 / 72))
    assert result["whole"]["psnr"] == pytest.approx(expected)


def test_latents(film_THWC, found):
    """One unit tells the shot, one moves within it, one does nothing."""
    number_T = np.repeat(np.arange(3.0), LENGTHS)
    within_T = np.concatenate([np.linspace(-0.4, 0.4, length) for length in LENGTHS])
    mean_TZ = np.stack([number_T, within_T, np.full(72, 0.5)], 1).astype(np.float32)
    whole = assessed(film_THWC, film_THWC, found, mean_TZ)[0]["whole"]
    assert whole["active_units"] == 2
    share = within_T.var() / (within_T.var() + number_T.var())
    assert whole["within_shot_variance_share"] == pytest.approx(share, rel=1e-4)
    whole = assessed(film_THWC, film_THWC, found, np.full((72, 3), 0.3, np.float32))[0]["whole"]
    assert (whole["active_units"], whole["within_shot_variance_share"]) == (0, None)


@pytest.mark.parametrize("frames", [1, 5])
def test_what_has_no_meaning_in_a_short_film_of_one_shot_is_null(frames):
    film_THWC = scene(0, frames)
    result, _ = assessed(film_THWC, film_THWC, [shots.Shot(0, frames)])
    whole = result["whole"]
    assert whole["recognised_shot"] is whole["recognised_half_second"] is None
    assert whole["psnr"] == pytest.approx(measures.MAX_PSNR)
    assert (whole["retention"] is None) == (frames == 1)
    assert result["excluded"]["still_shots"] == (frames == 1)


def reference_ssim(x_HW, y_HW):
    """SSIM by its definition, a window at a time: the means of SSIM and of its structure."""
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


def test_ssim_and_ms_ssim_are_what_their_papers_say():
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
def test_ms_ssim_takes_the_scales_that_fit(size, count):
    assert measures.scales(*size) == count


def test_nearest_is_the_least_squared_error():
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


def test_similarity_of_a_batch_is_the_objective_of_its_frames(small, frames_THWC):
    """By the running statistics, so that a frame's value does not depend on its neighbours."""
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


def test_recognition_among_candidates_half_a_second_apart(monkeypatch, film_THWC, found):
    """A long film is thinned out: 72 frames, were 6 enough, have a candidate every 12."""
    monkeypatch.setattr(summary, "MIN_CANDIDATES", 6)
    whole = assessed(film_THWC, film_THWC, found)[0]["whole"]
    assert whole["recognised_shot"] == whole["recognised_half_second"] == 1
