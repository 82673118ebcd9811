"""Presets: controls with their curves, as YAML files that people read and write.

Errors name the file and the line. The names and ranges are those of ``controls.CONTROLS``.
"""

import dataclasses
import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from vae_gan_jax.config import FIELDS, InputError, flagfile
from vae_gan_jax.explore import curves, preset_values
from vae_gan_jax.explore.control import REQUIRED, Option
from vae_gan_jax.explore.controls import CONTROLS
from vae_gan_jax.explore.curves import Curve
from vae_gan_jax.explore.preset_values import MAX_BYTES, MAX_SECONDS, Value, flow, near

NETWORKS = FIELDS["networks"].metadata["choices"]
KEYS = ("about", "networks", "seconds", "codes", "controls")
SOURCES = ("film", "prior")
MAX_CONTROLS = 64  # more take minutes to compile
# Where codes come from without a source film: each kind, and what may stand beside it.
CODES = {"walk": (), "samples": ("every",), "path": (), "time": (), "slow": (), "file": ()}


@dataclasses.dataclass(frozen=True)
class ControlUse:
    """A control of a preset: its fixed options, and the curves of its parameters."""

    name: str
    options: tuple[tuple[str, Any], ...]  # without defaults; hashable
    curves: dict[str, Curve]  # without the parameters that have their defaults
    place: str = dataclasses.field(default="", compare=False)  # "FILE:LINE: ", for messages


@dataclasses.dataclass(frozen=True)
class Preset:
    """Controls in the order in which they act, and what a film without a source starts from.

    Attributes:
      about: what the preset does, a sentence.
      seconds: the length without a source film; None: that of the command.
      codes: where codes come from without a source film, as ``{"walk": "film"}``; or empty.
      networks: thesis or residual, if the preset names layers that only those have.
      name: of its file, for messages.
      networks_place, codes_place: "FILE:LINE: " of its ``networks`` and ``codes``, for messages.
    """

    about: str = ""
    controls: tuple[ControlUse, ...] = ()
    seconds: float | None = None
    codes: dict[str, Any] = dataclasses.field(default_factory=dict)
    networks: str = ""
    name: str = dataclasses.field(default="the preset", compare=False)
    networks_place: str = dataclasses.field(default="", compare=False)
    codes_place: str = dataclasses.field(default="", compare=False)

    @property
    def uses_sound(self) -> bool:
        """Whether a curve follows the sound."""
        chosen = [curve for use in self.controls for curve in use.curves.values()]
        return any(isinstance(curve, curves.Sound) for curve in chosen)

    def require_layers(self, networks: str, layers: Sequence[str]) -> None:
        """Raises InputError if the preset is for other networks, or names a layer they lack."""
        if self.networks not in ("", networks):
            raise InputError(
                f"{self.networks_place}this preset is for --networks={self.networks}, and the "
                f"run has {networks} networks: give another preset, or another run."
            )
        for use in self.controls:
            for option, value in use.options:
                kind = CONTROLS[use.name].options[option].kind
                if kind == "layer" and value not in layers:
                    remedy = near(value, layers)
                    raise InputError(
                        f"{use.place}the {networks} networks have no layer {value}: {remedy}."
                    )


def load(path: str | os.PathLike) -> Preset:
    """Reads a preset; a file experiments/presets/NAME.yaml that does not exist is the shipped one.

    Raises InputError if the file cannot be read, or as ``parse`` does.
    """
    path = flagfile.shipped(os.fspath(path))
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError(f"{path} is not an ordinary file: give a preset.")
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 4)  # more than parse takes
        text = content.decode("utf-8-sig", "strict" if len(content) <= MAX_BYTES else "replace")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a preset.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8: give a preset.") from None
    return parse(text, path)


def parse(text: str, name: str = "the preset") -> Preset:
    """The preset of a YAML or JSON text; ``name`` is that of its file, for messages.

    Raises InputError with file and line if the text is not a preset.
    """
    parts = preset_values.read(text, name).mapping(KEYS, "a preset")
    given: dict[str, Any] = {"name": name}
    if "about" in parts:
        given["about"] = parts["about"].text()
    if "networks" in parts:
        given["networks"] = parts["networks"].choice(NETWORKS)
        given["networks_place"] = parts["networks"].place
    if "seconds" in parts:
        given["seconds"] = parts["seconds"].number(0.01, MAX_SECONDS)
    if "controls" in parts:
        uses = parts["controls"].items("[{control: snap}]")
        if len(uses) > MAX_CONTROLS:
            parts["controls"].fail(f"holds {len(uses)} controls: give at most {MAX_CONTROLS}")
        given["controls"] = tuple(map(_control, uses))
    if "codes" in parts:
        given["codes"] = _codes(parts["codes"])
        given["codes_place"] = next(iter(parts["codes"].plain.values()), parts["codes"]).place
    return Preset(**given)


def dump(preset: Preset) -> str:
    """The preset as a YAML text, with a line for each part; ``parse`` is the inverse."""
    lines = [
        f"{key}: {flow(value)}"
        for key, value in (
            ("about", preset.about), ("networks", preset.networks),
            ("seconds", preset.seconds and curves.short_number(preset.seconds)),
            ("codes", preset.codes),
        )
        if value
    ]  # fmt: skip
    lines.append("controls:" if preset.controls else "controls: []")
    for use in preset.controls:
        options = plain_options(use.options)
        parameters = {name: curve.plain() for name, curve in use.curves.items()}
        parts = {"control": use.name} | options | parameters
        rows = [f"{name}: {flow(value)}" for name, value in parts.items()]
        lines += [f"  - {rows[0]}", *(f"    {row}" for row in rows[1:])]
    return "\n".join(lines) + "\n"


def _control(use: Value) -> ControlUse:
    if not isinstance(use.plain, Mapping) or "control" not in use.plain:
        use.fail("is not a control: begin it with the line - control: NAME")
    name = use.plain["control"].choice(CONTROLS)
    control, options, chosen = CONTROLS[name], {}, {}
    names = ("control", *control.options, *control.parameters)
    for key, value in use.mapping(names, name).items():
        if key in control.options:
            options[key] = _option(control.options[key], value)
        elif key != "control":
            parameter = control.parameters[key]
            chosen[key] = curves.parse(value, parameter.low, parameter.high)
    for key, option in control.options.items():
        if option.default is REQUIRED and key not in options:
            help = option.help.rstrip(".")
            use.plain["control"].fail(f"{name} has no {key}: give one ({help})")
    return ControlUse(name, tuple(options.items()), chosen, use.place)


def _option(option: Option, value: Value) -> Any:
    """The value of an option, hashable; mappings become pairs."""
    if option.kind == "whole":
        return value.whole(option.low, option.high)
    if option.kind == "seconds":
        return value.number(option.low, min(option.high, MAX_SECONDS))
    if option.kind == "time":
        return value.seconds()
    return _features(value) if option.kind == "features" else value.text()


def _features(value: Value) -> Any:
    if value.plain == "all":
        return value.plain
    names = {*value.plain} if isinstance(value.plain, Mapping) else ()
    if "share" not in names and names != {"cluster"}:
        value.fail("is not a choice of features: give all, {share: 0.3, seed: 4} or {cluster: 3}")
    if "cluster" in names and "share" not in names:
        return (("cluster", value.plain["cluster"].whole(0, 1000)),)
    parts = value.mapping(("share", "seed"), "features with a share")
    seed = parts["seed"].whole(0, 2**32 - 1) if "seed" in parts else 0
    return ("share", parts["share"].number(0, 1)), ("seed", seed)


def _codes(value: Value) -> dict[str, Any]:
    read = {
        "walk": lambda part: part.choice(SOURCES),
        "samples": lambda part: part.choice(SOURCES),
        "every": lambda part: part.number(0.01, MAX_SECONDS),
        "path": lambda part: [time.seconds() for time in part.items("[0:10, 0:40]")],
        "time": lambda part: None if part.plain is None else part.seconds(),
        "slow": lambda part: part.number(1, 1000),
        "file": Value.text,
    }
    names = {*value.plain} if isinstance(value.plain, Mapping) else ()
    kind = next((kind for kind in CODES if kind in names), "")
    parts = value.mapping((kind, *CODES[kind]) if kind else CODES, kind or "codes")
    return {name: read[name](part) for name, part in parts.items()}


def plain_options(options: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """The options of a ``ControlUse`` as a preset has them."""
    return {name: dict(value) if isinstance(value, tuple) else value for name, value in options}
