"""Presets: controls with their curves, as YAML files that people read and write.

Errors name the file and the line. The names and ranges are those of ``controls.CONTROLS``.
"""

import dataclasses
import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from vae_gan_jax.config import FIELDS, InputError, flagfile
from vae_gan_jax.explore import curves
from vae_gan_jax.explore.controls import CONTROLS, REQUIRED
from vae_gan_jax.explore.curves import MAX_SECONDS, Curve, CurveError, near
from vae_gan_jax.explore.preset_reader import MAX_BYTES, PresetReader, flow

NETWORKS = FIELDS["networks"].metadata["choices"]
KEYS = ("about", "networks", "seconds", "codes", "controls")
EXAMPLE = "{walk: film}"
SOURCES = ("film", "prior")
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
      name, networks_place: of its file, and file and line of ``networks``, for messages.
    """

    about: str = ""
    controls: tuple[ControlUse, ...] = ()
    seconds: float | None = None
    codes: dict[str, Any] = dataclasses.field(default_factory=dict)
    networks: str = ""
    name: str = dataclasses.field(default="the preset", compare=False)
    networks_place: str = dataclasses.field(default="the preset", compare=False)

    @property
    def uses_sound(self) -> bool:
        """Whether a curve follows the sound."""
        chosen = [curve for use in self.controls for curve in use.curves.values()]
        return any(isinstance(curve, curves.Sound) for curve in chosen)

    def require_layers(self, networks: str, layers: Sequence[str]) -> None:
        """Raises InputError if the preset is for other networks, or names a layer they lack."""
        if self.networks not in ("", networks):
            raise InputError(
                f"{self.networks_place}: this preset is for --networks={self.networks}, and the "
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
    reader = PresetReader(name)
    top = reader.read(text)
    for key in top:
        if key not in KEYS:
            reader.fail((key,), f"{key} is not a part of a preset: {near(key, KEYS)}")
    if not isinstance(about := top.get("about", ""), str):
        reader.fail(("about",), "about is not text: give a sentence, in quotes")
    networks = reader.choice(("networks",), top["networks"], NETWORKS) if "networks" in top else ""
    seconds = top.get("seconds")
    if seconds is not None:
        seconds = reader.number(("seconds",), seconds, 0.01, MAX_SECONDS)
    uses = top.get("controls", ())
    if isinstance(uses, str) or not isinstance(uses, Sequence):
        reader.fail(("controls",), "controls is not a list: begin each control with a dash")
    place = reader.place(("networks",))
    controls = tuple(_control(reader, ("controls", number), use) for number, use in enumerate(uses))
    codes = _codes(reader, top.get("codes", {}))
    return Preset(about, controls, seconds, codes, networks, name, place)


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
        options = {name: _thawed(value) for name, value in use.options}
        parameters = {name: curve.plain() for name, curve in use.curves.items()}
        parts = {"control": use.name} | options | parameters
        rows = [f"{name}: {flow(value)}" for name, value in parts.items()]
        lines += [f"  - {rows[0]}", *(f"    {row}" for row in rows[1:])]
    return "\n".join(lines) + "\n"


def _control(reader: PresetReader, path: tuple, use: Any) -> ControlUse:
    if not isinstance(use, Mapping) or "control" not in use:
        reader.fail(path, "this is not a control: begin it with the line - control: NAME")
    name = reader.choice((*path, "control"), use["control"], CONTROLS)
    control, options, chosen = CONTROLS[name], {}, {}
    for key, value in use.items():
        at = (*path, key)
        if key in control.options:
            options[key] = _option(reader, at, control.options[key], value)
        elif key in control.parameters:
            parameter = control.parameters[key]
            try:
                chosen[key] = curves.parse(value, parameter.low, parameter.high)
            except CurveError as error:
                reader.fail((*at, *error.path), f"{key} of {name} {error}")
        elif key != "control":
            names = [*control.options, *control.parameters]
            reader.fail(at, f"{name} has no {key}: {near(key, names)}")
    for key, option in control.options.items():
        if option.default is REQUIRED and key not in options:
            reader.fail(path, f"{name} has no {key}: give one ({option.help.rstrip('.')})")
    return ControlUse(name, tuple(options.items()), chosen, f"{reader.place(path)}: ")


def _option(reader: PresetReader, path: tuple, option: Any, value: Any) -> Any:
    """The value of an option, hashable; mappings become pairs."""
    if option.kind == "whole":
        return reader.whole(path, value, option.low, option.high)
    if option.kind == "seconds":
        return reader.number(path, value, option.low, min(option.high, MAX_SECONDS))
    if option.kind == "time":
        return reader.time(path, value)
    if option.kind == "features":
        return _features(reader, path, value)
    return reader.text(path, value)


def _features(reader: PresetReader, path: tuple, value: Any) -> Any:
    if value == "all":
        return value
    if not isinstance(value, Mapping) or not ({*value} == {"cluster"} or "share" in value):
        reader.fail(path, "features are all, {share: 0.3, seed: 4} or {cluster: 3}: give one")
    if "cluster" in value:
        return (("cluster", reader.whole((*path, "cluster"), value["cluster"], 0, 1000)),)
    for key in value:
        reader.choice((*path, key), key, ("share", "seed"))
    share = reader.number((*path, "share"), value["share"], 0, 1)
    seed = reader.whole((*path, "seed"), value.get("seed", 0), 0, 2**32 - 1)
    return ("share", share), ("seed", seed)


def _codes(reader: PresetReader, value: Any) -> dict[str, Any]:
    read = {
        "walk": lambda path, entry: reader.choice(path, entry, SOURCES),
        "samples": lambda path, entry: reader.choice(path, entry, SOURCES),
        "every": lambda path, entry: reader.number(path, entry, 0.01, MAX_SECONDS),
        "path": reader.times,
        "time": lambda path, entry: entry if entry is None else reader.time(path, entry),
        "slow": lambda path, entry: reader.number(path, entry, 1, 1000),
        "file": reader.text,
    }
    kind = next((kind for kind in CODES if kind in reader.mapping(("codes",), value, EXAMPLE)), "")
    for key in value:
        allowed = (kind, *CODES[kind]) if kind else CODES
        if key not in allowed:
            reader.fail(("codes", key), f"codes do not go with {key}: {near(key, allowed)}")
    return {key: read[key](("codes", key), entry) for key, entry in value.items()}


def _thawed(value: Any) -> Any:
    return dict(value) if isinstance(value, tuple) else value
