"""Measures of reconstructed films for the report: tables, and a time line of the shots."""

import json
from html import escape
from pathlib import Path
from typing import Any

from vae_gan_jax.config import InputError
from vae_gan_jax.report.player_film import clock

FOLDER = "measures"
# Of each measure: its name, its unit, how many decimals, what it says.
NAMES = {
    "psnr": ("PSNR", "dB", 2, "peak signal-to-noise ratio; higher is nearer"),
    "ssim": ("SSIM", "", 3, "structural similarity, up to 1"),
    "ms_ssim": ("MS-SSIM", "", 3, "structural similarity at several scales, up to 1"),
    "vmaf": ("VMAF", "", 1, "perceived quality, 0 to 100"),
    "similarity": ("Learned similarity", "", 4, "L_like, by this run's discriminator; 0 is equal"),
    "retention": ("Retention", "", 3, "how much moves, as a share of the film's movement"),
    "aligned_retention": ("Aligned retention", "", 3, "how much moves as the film does; 1 is all"),
    "correlation": ("Correlation", "", 3, "of the movement of film and reconstruction"),
    "freeze_fraction": ("Freeze fraction", "%", 1, "of the film's moving frames stand still"),
    "collapsed_share": ("Collapsed share", "%", 1, "of the moving frames lie in collapsed shots"),
    "active_units": ("Active units", "", 0, "latent dimensions that vary with the film"),
    "within_shot_variance_share": (
        "Within-shot variance", "%", 1, "of the codes' variance; the rest lies between shots",
    ),
    "recognised_shot": ("Shot recognised", "%", 1, "the nearest source frame is of the same shot"),
    "recognised_half_second": (
        "Moment recognised", "%", 1, "the nearest source frame lies within half a second",
    ),
    "black_error": ("Error on black", "", 2, "mean error of black frames, of 255"),
    "psnr_darkest_fifth": ("PSNR in the dark", "dB", 2, "of the darkest fifth of the frames"),
    "sharpness": ("Sharpness", "", 3, "fine detail, as a share of the film's; 1 is as sharp"),
}  # fmt: skip
# Of a shot or a film, but no measures of one number.
OTHERS = ("first", "stop", "start_seconds", "stop_seconds", "psnr_by_brightness")


def read(run_dir: Path) -> dict[str, dict[str, Any]]:
    """The measures of each film of a run, by the film's name; what is not finite is null."""
    found = {}
    for path in sorted((run_dir / FOLDER).glob("*.json")):
        try:
            content = json.loads(path.read_text(), parse_constant=lambda _: None)
        except ValueError:
            raise InputError(
                f"{path} cannot be read: make it again with --mode=evaluate."
            ) from None
        if "whole" in content:
            found[path.stem] = content
    return found


def _name(key: str) -> tuple[str, str, int, str]:
    return NAMES.get(key, (key.replace("_", " "), "", 3, ""))


def _keys(measured: list[dict[str, Any]]) -> list[str]:
    """The measures with one number each, known ones first, in one order."""
    keys = dict.fromkeys(key for one in measured for key in one if key not in OTHERS)
    plain = [key for key in keys if all(_is_plain(one.get(key)) for one in measured)]
    return sorted(plain, key=lambda key: list(NAMES).index(key) if key in NAMES else len(NAMES))


def _is_plain(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or number


def show(key: str, value: float | None) -> str:
    """A measure as text: 21.35 dB, 57.0%, – where it has no meaning."""
    _, unit, decimals, _ = _name(key)
    if value is None:
        return "–"
    if unit == "%":
        return f"{100 * value:.{decimals}f}%"
    return f"{value:.{decimals}f}{f' {unit}' if unit else ''}"


def breakable(name: str) -> str:
    """A film's name as HTML that may be broken where words of it end."""
    return escape(name).replace("_", "_<wbr>")


def tables(measures: dict[str, dict[str, Any]]) -> str:
    """The measures of whole films, one film a column, and PSNR by brightness."""
    if not measures:
        return ""
    whole = {name: one.get("whole", {}) for name, one in measures.items()}
    heads = "".join(f'<th scope="col">{breakable(name)}</th>' for name in whole)
    rows = []
    for key in _keys(list(whole.values())):
        label, _, _, meaning = _name(key)
        cells = "".join(f"<td>{show(key, one.get(key))}</td>" for one in whole.values())
        rows.append(
            f'<tr><th scope="row">{escape(label)}<span class="note">{escape(meaning)}</span></th>'
            f"{cells}</tr>"
        )
    table = (
        '<div class="wide"><table class="numbers"><caption>Over the whole film</caption><thead><tr>'
        f"<td></td>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
    return table + "".join(
        _brightness(f": {breakable(name)}" if len(whole) > 1 else "", one)
        for name, one in whole.items()
    )


def _brightness(of: str, whole: dict[str, Any]) -> str:
    bands = [band for band in whole.get("psnr_by_brightness") or () if band["psnr"] is not None]
    if not bands:
        return ""
    most = max(band["psnr"] for band in bands)
    rows = "".join(
        f'<tr><th scope="row">{band["low"]:g}–{band["high"]:g}</th><td>{band["frames"]:,}</td>'
        f'<td>{show("psnr", band["psnr"])}</td><td class="bar"><span '
        f'style="width:{max(0, 100 * band["psnr"] / most):.0f}%"></span></td></tr>'
        for band in bands
    )
    return (
        '<div class="wide"><table class="numbers"><caption>PSNR by the brightness of the source '
        f'frame{of}</caption><thead><tr><th scope="col">brightness</th>'
        '<th scope="col">frames</th><th scope="col">PSNR</th><td></td></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def timeline(measured: dict[str, Any], player: str) -> str:
    """The shots of a film as bars along its time, and as a table; each leads to its moment.

    Args:
      measured: the measures of a film.
      player: the id of the element that plays it.
    """
    shots = measured.get("shots") or []
    keys = _keys(shots)
    if not shots or not keys:
        return ""
    rate = measured["rate"]
    data = {
        "frames": measured["frames"],
        "rate": rate,
        "shots": [[shot["first"], shot["stop"]] for shot in shots],
        "values": {key: [shot.get(key) for shot in shots] for key in keys},
        "shown": {key: [show(key, shot.get(key)) for shot in shots] for key in keys},
    }
    chosen = f"{player}-measure"
    options = "".join(f'<option value="{key}">{escape(_name(key)[0])}</option>' for key in keys)
    heads = "".join(f'<th scope="col">{escape(_name(key)[0])}</th>' for key in keys)
    rows = "".join(
        f'<tr><th scope="row"><button type="button" data-shot="{number}">'
        f"{clock(shot['first'] / rate)}</button></th>"
        f"{''.join(f'<td>{show(key, shot.get(key))}</td>' for key in keys)}</tr>"
        for number, shot in enumerate(shots)
    )
    return (
        f'<div class="timeline" data-player="{player}" '
        f'data-measures="{escape(json.dumps(data))}"><div class="choice">'
        f'<label for="{chosen}">Shots by</label><select id="{chosen}">{options}</select>'
        '<output aria-live="off"></output></div><div class="bars"><div class="scale" '
        'aria-hidden="true"><span></span><span></span></div><div class="strip">'
        '<div class="shots" role="group" '
        'aria-label="Shots: arrow keys move along them, Enter shows one"></div></div></div>'
        f"<details><summary>All {len(shots)} shots as a table</summary>"
        f'<div class="wide"><table class="numbers"><thead><tr><th scope="col">starts</th>{heads}'
        f"</tr></thead><tbody>{rows}</tbody></table></div></details></div>"
    )
