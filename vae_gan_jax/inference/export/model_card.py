"""The README.md of an export: a model card as Hugging Face shows it."""

from pathlib import Path
from typing import Any

import jinja2

from vae_gan_jax.config import FIELDS, Config, to_text
from vae_gan_jax.inference.export.film_check import CheckedFilms
from vae_gan_jax.run import damaged_json, film_names, provenance

TEMPLATE = "model_card.md"
SETTINGS = (
    *("networks", "width", "height", "filters", "z_dim"),
    *("noise_schedule", "batch_size", "prior"),
)
MEASURES = {  # name in measures/NAME.json, label and decimals
    "psnr": ("PSNR, dB", 2),
    "ssim": ("SSIM", 3),
    "ms_ssim": ("MS-SSIM", 3),
    "recognised_half_second": (
        "frames whose most similar source frame is within half a second, fraction",
        3,
    ),
}


def render(
    config: Config, facts: dict[str, Any], checked: CheckedFilms, sizes: dict[str, int]
) -> str:
    """The text of the card.

    ``facts`` is the content of ``config.json``; ``sizes`` are those of the files, bytes by name.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(TEMPLATE).render(
        title=" and ".join(film_names.learnt_names(config)).replace("_", " "),
        facts=facts,
        settings={name: to_text(FIELDS[name], getattr(config, name)) for name in SETTINGS},
        measures=_measures(config, facts["checkpoint"]),
        checked=checked,
        sizes={name: f"{size / 1e6:.2f}" for name, size in sizes.items()},
    )


def _measures(config: Config, checkpoint: str | None) -> list[tuple[str, str, str]]:
    """Film, label and value of each measure of this checkpoint's reconstructions."""
    rows = []
    for name, (origin, paths) in provenance.groups(config.run_dir, "measures").items():
        paths = [path for path in paths if path.suffix == ".json"]
        if not paths or not checkpoint or origin.get("checkpoint") != checkpoint:
            continue
        content = damaged_json.read(paths[0])
        whole = content.get("whole") if isinstance(content, dict) else None
        numbers = damaged_json.numbers(whole) if isinstance(whole, dict) else {}
        rows += [
            (name.partition("/")[2], label, f"{numbers[key]:.{decimals}f}")
            for key, (label, decimals) in MEASURES.items()
            if numbers.get(key) is not None
        ]
    return rows
