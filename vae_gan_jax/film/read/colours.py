"""Converts the colours of a film to 8-bit RGB of BT.709, as ffmpeg filters."""

import re

from vae_gan_jax.film.read.probe import Probe

SCALING = "flags=bicubic+accurate_rnd+full_chroma_int"
# zscale is faster than scale and equally exact, but only for these formats and even sides.
ZSCALE_FORMATS = r"yuvj?4(20|22|44)p(1[02]le)?"
ZSCALE_SCALING = "filter=bicubic:param_a=0:param_b=0.5"
HDR_TRANSFERS = ("smpte2084", "arib-std-b67")  # PQ and HLG
RGB = r"rgb|bgr|gbr|[ax0]2?rgb|[ax0]2?bgr|pal8|mono|gray|ya\d|bayer|xyz"
TRANSPARENT = r"yuva|ayuv|vuya|uyva|rgba|bgra|argb|abgr|gbrap|ya\d|pal8"
MATRICES = ("bt709", "bt470bg", "smpte170m", "smpte240m", "fcc", "bt2020nc")
# Matrices that only zscale has, and the transfers with which it has them.
ZSCALE_MATRICES = {
    "bt2020c": ("bt709", "smpte170m", "bt2020-10", "bt2020-12"),
    "ictcp": HDR_TRANSFERS,
    "ycgco": None,  # any
}
OTHER_PRIMARIES = (
    *("bt470m", "bt470bg", "smpte170m", "smpte240m", "film", "bt2020"),
    *("smpte428", "smpte431", "smpte432", "ebu3213", "jedec-p22"),
)
# Curves of screens. Greys keep their values, as in players; only wide primaries need the curve.
SCREEN_TRANSFERS = (
    *("bt709", "smpte170m", "smpte240m", "bt2020-10", "bt2020-12"),
    *("bt470m", "bt470bg", "iec61966-2-1", "iec61966-2-4"),
)
LIGHT_TRANSFERS = ("linear", "log100", "log316")
REFERENCE_WHITE_NITS = 203.0  # diffuse white in PQ and HLG (ITU-R BT.2408)


def matrix_of(film: Probe) -> str:
    """The film's matrix, or what players assume: BT.709 above 576 lines, otherwise BT.601."""
    transfers = ZSCALE_MATRICES.get(film.matrix, ())
    if film.matrix in MATRICES or transfers is None or film.transfer in transfers:
        return film.matrix
    if film.transfer in HDR_TRANSFERS or film.matrix in ZSCALE_MATRICES:
        return "bt2020nc"
    high = film.stored_width >= 1280 or film.stored_height > 576
    return "bt709" if high else "smpte170m"


def hide_matrix(film: Probe) -> list[str]:
    """Removes a matrix's tag that ffmpeg's scale refuses; later filters name the matrix."""
    known = (*MATRICES, "gbr", "unknown")
    return [] if film.matrix in known else ["setparams=colorspace=unknown"]


def is_rgb(film: Probe) -> bool:
    """Whether the film has no matrix: RGB, or grey in full range."""
    limited_grey = film.pixel_format.startswith("gray") and film.colour_range == "tv"
    return re.match(RGB, film.pixel_format) is not None and not limited_grey


def is_full_range(film: Probe) -> bool:
    """Whether black is 0 rather than 16 (of 255)."""
    return is_rgb(film) or film.colour_range == "pc" or film.pixel_format.startswith("yuvj")


def over_black(film: Probe) -> list[str]:
    """Lays a transparent picture over black, which gives 16-bit RGB; empty for an opaque film."""
    if not re.match(TRANSPARENT, film.pixel_format):
        return []
    matrix = "" if is_rgb(film) else f":{swscale_matrix(film, 'in')}:out_range=pc"
    return [
        f"scale={SCALING}{matrix}",
        "format=gbrap16le",
        "premultiply=inplace=1",
        "format=gbrp16le",
    ]


def to_rgb(film: Probe, even: bool, width: int, height: int) -> list[str]:
    """Scales to ``width`` x ``height`` and converts; ``even``: the sides before are even."""
    scale, laid, light = f"scale={width}:{height}:{SCALING}", over_black(film), _light(film)
    rgb = bool(laid) or is_rgb(film)
    source, pixels = "min=gbr:rin=full", "gbrp16le"
    if not rgb:
        span = "full" if is_full_range(film) else "limited"
        source, pixels = f"min={matrix_of(film)}:rin={span}", "yuv444p12le"
    source += ":m=gbr:r=full"
    grey = film.pixel_format.startswith("gray")
    suits_zscale = grey or (even and re.fullmatch(ZSCALE_FORMATS, film.pixel_format))
    if suits_zscale and not rgb and len(light) < 2:
        scale = f"zscale={width}:{height}:{ZSCALE_SCALING}:{source}{''.join(light)}"
        return [scale, "format=gbrp,format=rgb24"]
    if light or (not rgb and matrix_of(film) in ZSCALE_MATRICES):
        options, *later = light or [""]
        filters = [*laid, scale, f"format={pixels}", f"zscale={source}{options}", *later]
        return [*filters, "format=gbrp,format=rgb24"]
    return [
        *laid,
        scale if rgb else f"{scale}:{swscale_matrix(film, 'in')}:out_range=pc",
        "format=rgb24",
    ]


def swscale_matrix(film: Probe, side: str) -> str:
    """The options of ffmpeg's scale for the film's matrix and range; ``side`` is in or out."""
    span = "pc" if is_full_range(film) else "tv"
    return f"{side}_color_matrix={matrix_of(film)}:{side}_range={span}"


def _light(film: Probe) -> list[str]:
    """Converts the light: zscale's options, then further filters; empty if it is that of BT.709.

    Wide primaries are converted in the light of a screen (ITU-R BT.2407), and what BT.709 cannot
    show is clipped.
    """
    if film.transfer in HDR_TRANSFERS:
        return _tone_map(film)
    transfer = film.transfer if film.transfer in (*SCREEN_TRANSFERS, *LIGHT_TRANSFERS) else "bt709"
    if film.primaries not in OTHER_PRIMARIES and transfer not in LIGHT_TRANSFERS:
        return []
    primaries = film.primaries if film.primaries in OTHER_PRIMARIES else "bt709"
    shown = "bt709" if transfer in LIGHT_TRANSFERS else transfer
    return [f":pin={primaries}:p=bt709:tin={transfer}:t={shown}"]


def _tone_map(film: Probe) -> list[str]:
    """Maps HDR light to BT.709: linear below 0.3 of reference white, above by a Moebius curve."""
    primaries = film.primaries if film.primaries in OTHER_PRIMARIES else "bt2020"
    return [
        f":tin={film.transfer}:pin={primaries}:p={primaries}:t=linear:npl={REFERENCE_WHITE_NITS}",
        "format=gbrpf32le",
        "zscale=p=bt709",
        f"tonemap=mobius:param=0.3:desat=0:peak={film.peak / REFERENCE_WHITE_NITS:.4f}",
        "zscale=t=bt709:m=gbr:r=full",
    ]
