"""Hard cuts are detected; flashes, fast movement and fades are not mistaken for cuts."""

import itertools

import numpy as np
import pytest

from tests.film.films import DEMO_SHOTS, REAL
from vae_gan_jax.film import demo_film, shots
from vae_gan_jax.film.read import video


def scene(seed: int, frames: int, speed: float = 0.5, height=36, width=64) -> np.ndarray:
    """A camera pans over blobs in the colours of this scene, uint8 ``[T, H, W, 3]``."""
    random = np.random.default_rng(seed)
    ground = random.uniform(40, 215, 3)
    wide = width + int(speed * frames) + 1
    y, x = np.mgrid[:height, :wide]
    picture_HWC = np.ones((height, wide, 3)) * ground
    for _ in range(wide // 4):
        centre, radius = random.uniform((0, 0), (height, wide)), random.uniform(3, 9)
        near = np.hypot(y - centre[0], x - centre[1]) < radius
        picture_HWC[near] = np.clip(ground + random.uniform(-90, 90, 3), 0, 255)
    starts = (speed * np.arange(frames)).astype(int)
    return np.stack([picture_HWC[:, start : start + width] for start in starts]).astype(np.uint8)


def find_shots(blocks) -> list[shots.Shot]:
    finder = shots.ShotFinder()
    for frames_BHWC in blocks:
        finder.add(frames_BHWC)
    return finder.shots()


def cuts(frames_THWC, block=12) -> list[int]:
    result = find_shots(
        frames_THWC[start : start + block] for start in range(0, len(frames_THWC), block)
    )
    assert result[0].first == 0
    assert result[-1].stop == len(frames_THWC)
    assert all(a.stop == b.first for a, b in itertools.pairwise(result))
    return [shot.first for shot in result[1:]]


def test_hard_cuts_are_detected_in_blocks_of_any_size():
    film_THWC = np.concatenate([scene(seed, length) for seed, length in enumerate((20, 9, 31, 5))])
    for block in (1, 7, 12, 100):
        assert cuts(film_THWC, block) == [20, 29, 60]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_makes_no_cut(length):
    film_THWC = scene(0, 40)
    film_THWC[20 : 20 + length] = 250
    assert cuts(film_THWC) == []


def test_fast_movement_makes_no_cut_but_a_cut_into_it_is_one():
    fast_THWC = scene(1, 40, speed=9)
    assert cuts(fast_THWC) == []
    assert cuts(np.concatenate([scene(0, 20), fast_THWC])) == [20]


def test_fades_and_noise_make_no_cut():
    film_THWC = scene(0, 40)
    level_T111 = np.clip(np.arange(40) / 24, 0, 1)[:, None, None, None]
    faded_THWC = (film_THWC * level_T111).astype(np.uint8)
    assert cuts(np.concatenate([faded_THWC, faded_THWC[::-1]])) == []
    noise_THWC = np.random.default_rng(0).normal(0, 12, film_THWC.shape)
    assert cuts(np.clip(film_THWC + noise_THWC, 0, 255).astype(np.uint8)) == []


def test_films_of_one_shot_and_of_one_frame():
    assert find_shots([scene(0, 1)]) == [shots.Shot(0, 1)]
    assert find_shots([np.zeros((30, 36, 64, 3), np.uint8)]) == [shots.Shot(0, 30)]
    assert find_shots([]) == []


@pytest.mark.parametrize("size", [(64, 36), (128, 72), (20, 18)])
def test_the_shots_of_the_demo_film(size):
    frames_THWC = np.stack(list(demo_film.frames(*size)))
    assert cuts(frames_THWC) == [shot.start for shot in DEMO_SHOTS[1:]]


@pytest.mark.skipif(not REAL.exists(), reason="the real films are not here")
@pytest.mark.parametrize(
    ("name", "start", "stop", "expected"),
    [  # checked by eye
        ("big_buck_bunny_448x252_24fps", 60, 78, [17, 92, 227, 272, 324, 374]),
        ("big_buck_bunny_448x252_24fps", 192, 200, [5, 65, 90, 119, 189]),
        ("big_buck_bunny_448x252_24fps", 440, 445, [15, 53, 54, 78]),
        ("crystal_720x480_30fps", None, None, []),
        ("flower_960x540_29.97fps", None, None, []),
    ],
)
def test_real_films(name, start, stop, expected):
    framing = video.Framing(128, 72, trim_start=start, trim_end=stop)
    assert cuts(np.stack(list(video.decode(REAL / f"{name}.mp4", framing)))) == expected


def test_saved_shots_are_loaded_for_the_same_film_alone(tmp_path):
    expected = [shots.Shot(0, 3), shots.Shot(3, 9)]
    assert shots.load(tmp_path, "film", {"bytes": 1}) is None
    shots.save(tmp_path, "film", {"bytes": 1}, expected)
    assert shots.load(tmp_path, "film", {"bytes": 1}) == expected
    assert shots.load(tmp_path, "film", {"bytes": 2}) is None


@pytest.mark.parametrize("name", ["shots/film.json", "provenance/shots/film.json"])
@pytest.mark.parametrize("content", ["", "[[0, 4]]", '{"films": 1}', "[7]"])
def test_damaged_or_foreign_shots_are_not_loaded(tmp_path, name, content):
    shots.save(tmp_path, "film", {"bytes": 1}, [shots.Shot(0, 3)])
    (tmp_path / name).write_text(content)
    assert shots.load(tmp_path, "film", {"bytes": 1}) is None
