"""Colours of every primaries, curve, matrix and range become those of BT.709."""

import numpy as np
import pytest
from PIL import Image

from tests.film import films
from vae_gan_jax.film.passthrough import passthrough
from vae_gan_jax.film.read.framing import Framing
from vae_gan_jax.film.read.video import decode, probe

# Chromaticities of red, green and blue: ITU-R BT.709, BT.2020, BT.601; SMPTE EG 432-1. White: D65.
CHROMATICITIES = {
    "bt709": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    "smpte432": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3
    "smpte170m": ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),  # 525 lines
    "bt470bg": ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),  # 625 lines
}
D65 = (0.3127, 0.3290)
# RGB in the film's own primaries, of saturated, ordinary and neutral colours.
PATCHES = np.array(
    [(200, 96, 80), (110, 180, 90), (60, 80, 210), (180, 120, 100), (90, 140, 110), (128, 128, 128)]
)


def to_xyz(primaries: str) -> np.ndarray:
    """Linear RGB to XYZ [3, 3], from the chromaticities (SMPTE RP 177)."""
    xyz = [(x / y, 1, (1 - x - y) / y) for x, y in (*CHROMATICITIES[primaries], D65)]
    columns = np.array(xyz[:3]).T
    return columns * np.linalg.solve(columns, np.array(xyz[3]))


def srgb_light(signal):
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def srgb_signal(light):
    high = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(light <= 0.0031308, 12.92 * light, high)


CURVES = {
    "iec61966-2-1": (srgb_light, srgb_signal),
    "bt470bg": (lambda signal: signal**2.8, lambda light: light ** (1 / 2.8)),
}
BT1886 = (lambda signal: signal**2.4, lambda light: light ** (1 / 2.4))


def in_bt709(rgb, primaries: str, transfer: str) -> np.ndarray:
    """What a screen of BT.709 needs in order to show the light of these colours."""
    light_of, signal_of = CURVES.get(transfer, BT1886)
    matrix = np.linalg.inv(to_xyz("bt709")) @ to_xyz(primaries)
    light = np.clip(light_of(np.asarray(rgb) / 255) @ matrix.T, 0, 1)
    return 255 * signal_of(light)


def patch_film(path, pixels, *, matrix, primaries, transfer, full=False, size=16):
    """Makes a lossless film of the patches in a row, with these tags."""
    width, height = size * len(PATCHES), size
    row = np.repeat(PATCHES.astype(np.uint8), size, axis=0)
    still = path.with_suffix(".png")
    Image.fromarray(np.repeat(row[None], size, axis=0)).save(still)
    span, rgb = "pc" if full else "tv", pixels.startswith("gbr")
    conversion = "" if rgb else f":out_color_matrix={matrix}:out_range={span}"
    films.run_ffmpeg(
        *("-loop", 1, "-i", still, "-frames:v", 2, "-vf"),
        f"scale={width}:{height}:flags=accurate_rnd+full_chroma_int+full_chroma_inp{conversion},"
        f"format={pixels},setparams=range={'pc' if rgb else span}:colorspace="
        f"{'gbr' if rgb else matrix}:color_primaries={primaries}:color_trc={transfer}",
        *("-c:v", "ffv1", path),
    )
    return path


def shown(path, size=16) -> np.ndarray:
    """The decoded patches, int [patches, 3]."""
    film = probe(path)
    frame_HWC = next(decode(path, Framing(film.width, film.height, crop="none")))
    return frame_HWC[size // 2, size // 2 :: size].astype(int)


@pytest.mark.parametrize(
    ("pixels", "matrix", "primaries", "transfer", "full"),
    [
        ("yuv420p", "bt709", "smpte432", "bt709", False),
        ("yuv420p", "smpte170m", "smpte432", "iec61966-2-1", False),
        ("yuvj420p", "bt709", "smpte432", "bt709", True),
        ("yuv420p", "bt2020nc", "bt2020", "bt2020-10", False),
        ("yuv420p10le", "bt2020nc", "bt2020", "bt2020-10", False),
        ("yuv444p10le", "bt2020nc", "bt2020", "bt709", True),
        ("yuv422p10le", "smpte170m", "smpte170m", "smpte170m", False),
        ("yuv420p10le", "bt470bg", "bt470bg", "smpte170m", False),
        ("yuv420p", "bt470bg", "bt470bg", "bt470bg", True),
        ("yuv411p", "smpte170m", "smpte170m", "bt709", False),  # a format that zscale lacks
        ("gbrp", "gbr", "smpte432", "iec61966-2-1", True),
        ("gbrap", "gbr", "smpte432", "bt709", True),
        ("yuv422p", "bt709", "bt709", "bt709", False),
        ("yuv420p", "bt709", "unknown", "iec61966-2-1", False),
    ],
)
def test_patches_in_other_primaries(tmp_path, pixels, matrix, primaries, transfer, full):
    path = patch_film(
        tmp_path / "film.mkv", pixels,
        matrix=matrix, primaries=primaries, transfer=transfer, full=full,
    )  # fmt: skip
    if primaries in CHROMATICITIES:
        assert (probe(path).primaries, probe(path).transfer) == (primaries, transfer)
    expected = PATCHES
    if primaries in CHROMATICITIES:
        expected = in_bt709(PATCHES, primaries, transfer)
    tolerance = 1.5 if "10" in pixels else 4  # 8 bits of YCbCr hold colours that coarsely
    assert np.abs(shown(path) - expected).max() <= tolerance


@pytest.mark.parametrize(
    ("tagged", "matrix", "transfer"),
    [
        ("ycgco", "ycgco", "unknown"),
        ("bt2020c", "bt2020c", "bt2020-10"),
        ("bt2020c", "bt2020nc", "unknown"),  # zscale has no constant luminance with this curve
        ("ictcp", "bt2020nc", "bt709"),
        ("chroma-derived-nc", "smpte170m", "unknown"),  # none of ffmpeg's filters has these
        ("ipt-c2", "smpte170m", "bt709"),
    ],
)
def test_a_matrix_that_ffmpeg_cannot_scale(tmp_path, tagged, matrix, transfer):
    """The colour is encoded with the matrix that the tags mean to this program."""
    films.run_ffmpeg(
        *("-f", "lavfi", "-i", "color=0xC86050:s=96x64:r=4:d=1", "-vf"),
        f"format=gbrp,zscale=min=gbr:rin=full:m={matrix}:r=limited:pin=709:tin=709:p=709:t=709,"
        f"format=yuv420p,setparams=colorspace={tagged}:color_trc={transfer}",
        *("-c:v", "ffv1", tmp_path / "film.mkv"),
    )
    assert probe(tmp_path / "film.mkv").matrix == tagged
    for crop in ("none", "auto"):
        frame_HWC = next(decode(tmp_path / "film.mkv", Framing(96, 64, crop=crop)))
        assert np.abs(frame_HWC[32, 48].astype(int) - (0xC8, 0x60, 0x50)).max() <= 4


def test_the_written_film_has_the_colours_that_its_tags_say(tmp_path):
    path = patch_film(
        tmp_path / "film.mkv", "yuv420p10le",
        matrix="bt2020nc", primaries="bt2020", transfer="bt2020-10",
    )  # fmt: skip
    passthrough(path, tmp_path / "out.mp4", Framing(16 * len(PATCHES), 16, crop="none"))
    film = probe(tmp_path / "out.mp4")
    tags = (film.matrix, film.primaries, film.transfer, film.colour_range)
    assert tags == ("bt709", "bt709", "bt709", "tv")
    expected = in_bt709(PATCHES, "bt2020", "bt709")
    assert np.abs(shown(tmp_path / "out.mp4") - expected).max() <= 5


@pytest.mark.parametrize("codec", ["libx265", "libaom-av1"])
def test_grey_in_limited_range(tmp_path, codec):
    """Black is 16 and white 235."""
    options = ("-x265-params", "log-level=error:lossless=1") if codec == "libx265" else ()
    films.run_ffmpeg(
        *("-f", "lavfi", "-i", "color=black:s=96x64:r=4:d=1,drawbox=w=48:t=fill:c=white"),
        *("-vf", "format=yuv420p,extractplanes=y,setparams=range=tv", "-color_range", "tv"),
        *("-c:v", codec, *options, tmp_path / "film.mkv"),
    )
    assert probe(tmp_path / "film.mkv").pixel_format == "gray"
    frame_HWC = next(decode(tmp_path / "film.mkv", Framing(96, 64, crop="none")))
    assert frame_HWC[:, 4:40].min() >= 254
    assert frame_HWC[:, 56:92].max() <= 1


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("film.mov", ("-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le")),
        ("film.webm", ("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-lossless", 1)),
        ("vp8.webm", ("-c:v", "libvpx", "-pix_fmt", "yuva420p", "-b:v", "4M", "-auto-alt-ref", 0)),
        ("film.mkv", ("-c:v", "ffv1", "-pix_fmt", "yuva420p")),
        ("rgb.mov", ("-c:v", "qtrle", "-pix_fmt", "argb")),
        ("rgb.mkv", ("-c:v", "ffv1", "-pix_fmt", "gbrap")),
    ],
)
def test_transparency_is_laid_over_black(tmp_path, name, options):
    """The left half is opaque; of the right half, half of the colour is seen."""
    rgba_HWC = np.full((64, 96, 4), (200, 120, 60, 255), np.uint8)
    rgba_HWC[:, 48:, 3] = 128
    Image.fromarray(rgba_HWC).save(tmp_path / "still.png")
    films.run_ffmpeg("-loop", 1, "-i", tmp_path / "still.png", "-t", 0.2, *options, tmp_path / name)
    for path in (tmp_path / name, tmp_path / "still.png"):
        frame_HWC = next(decode(path, Framing(96, 64, crop="none"))).astype(int)
        assert np.abs(frame_HWC[32, 24] - (200, 120, 60)).max() <= 4
        assert np.abs(frame_HWC[32, 72] - (100, 60, 30)).max() <= 4


# High dynamic range: the signal that BT.2100 assigns to light on a screen, and what we show.


def pq_signal(nits: float) -> float:
    """The PQ signal of a light level: SMPTE ST 2084, inverse EOTF."""
    light = (nits / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * light) / (1 + 18.6875 * light)) ** 78.84375


def hlg_signal(nits: float) -> float:
    """The HLG signal of grey: ARIB STD-B67, system gamma 1.2 of a 1,000-nit screen."""
    scene = (nits / 1000) ** (1 / 1.2)
    if scene <= 1 / 12:
        return np.sqrt(3 * scene)
    return 0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073


@pytest.mark.parametrize(
    ("transfer", "signal"), [("smpte2084", pq_signal), ("arib-std-b67", hlg_signal)]
)
@pytest.mark.parametrize("tags", [":color_primaries=bt2020:colorspace=bt2020nc", ""])
@pytest.mark.parametrize("of_white", [0.05, 0.18, 0.29, 1.0])
def test_high_dynamic_range(tmp_path, transfer, signal, of_white, tags):
    luma = round(64 + 876 * signal(203 * of_white))  # reference white is 203 nits
    path = tmp_path / "film.mkv"
    films.run_ffmpeg(
        *("-f", "lavfi", "-i"),
        f"color=s=64x64:r=4:d=1,format=yuv420p10le,geq=lum={luma}:cb=512:cr=512",
        *("-vf", f"setparams=range=tv:color_trc={transfer}{tags}"),
        *("-c:v", "libx265", "-x265-params", "log-level=error:lossless=1", path),
    )
    film = probe(path)
    assert film.transfer == transfer
    level = next(decode(path, Framing(64, 64, crop="none")))[32, 32].astype(int)
    assert np.ptp(level) <= 1
    # Shadows and middle tones keep their light on a screen of gamma 2.4; highlights are compressed.
    shown = 255 * of_white ** (1 / 2.4)
    if of_white < 0.3:
        assert np.abs(level - shown).max() <= 3
    else:
        assert 200 <= level[0] <= 235
