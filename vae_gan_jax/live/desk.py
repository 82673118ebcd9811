"""The controls of the live page with their values, as a preset."""

import dataclasses
import json
import random
from typing import Any

from vae_gan_jax.config import InputError
from vae_gan_jax.explore import curves, presets
from vae_gan_jax.explore.controls import CONTROLS
from vae_gan_jax.explore.preset_values import Value
from vae_gan_jax.explore.presets import ControlUse, Preset

STAGES = ("codes", "bend", "picture", "model")
# The controls that the desk begins with, and that it adds to a preset without them.
STANDARD = (
    *({"control": "direction", "component": number} for number in (1, 2, 3, 4)),
    *({"control": name} for name in ("walk", "snap", "smooth", "noise", "truncate", "blend")),
)
NEED_CODES = ("direction", "walk", "snap", "noise", "truncate")  # of the film
MAX_CONTROLS = 64
# How far sliders and random values go from where a control is off, by the parameter's unit.
REACH = {
    "standard deviations": 4.0, "seconds": 5.0, "times": 3.0, "degrees": 180.0, "widths": 1.0,
    "heights": 1.0, "root mean squares of the layer": 3.0, "patterns": 10.0,
}  # fmt: skip


@dataclasses.dataclass
class DeskControl:
    """A control of the desk; ``curves`` has a curve of each parameter and changes in place."""

    id: str
    name: str
    options: tuple[tuple[str, Any], ...]
    curves: dict[str, Any]

    @property
    def is_neutral(self) -> bool:
        """Whether it never changes anything."""
        control = CONTROLS[self.name]
        neutral = curves.Constant(control.parameters[control.first].neutral)
        return self.curves[control.first] == neutral

    def use(self) -> ControlUse:
        """The control as a preset has it, with the curves that change in place."""
        return ControlUse(self.name, self.options, self.curves)

    def state(self) -> dict[str, Any]:
        """The control as the page reads it."""
        return {
            "id": self.id,
            "control": self.name,
            "stage": CONTROLS[self.name].stage,
            "options": presets.plain_options(self.options),
            "parameters": {
                name: self.value(name) | description | {"address": f"/{self.id}/{name}"}
                for name, description in parameters(self.name).items()
            },
        }

    def value(self, parameter: str) -> dict[str, Any]:
        """``{"value": number or null, "curve": curve or null}``."""
        plain = self.curves[parameter].plain()
        is_number = not isinstance(plain, dict)
        return {"value": plain if is_number else None, "curve": None if is_number else plain}


def parameters(name: str) -> dict[str, dict[str, Any]]:
    """The parameters of a control as the page reads them."""
    return {
        key: {
            "low": parameter.low, "high": parameter.high, "unit": parameter.unit,
            "neutral": _rest(name, key), "about": parameter.help, "slider": _slider(name, key),
        }
        for key, parameter in CONTROLS[name].parameters.items()
    }  # fmt: skip


def _slider(name: str, parameter: str) -> tuple[float, float]:
    """The part of a parameter's range that sliders and random values cover."""
    entry, rest = CONTROLS[name].parameters[parameter], _rest(name, parameter)
    reach = REACH.get(entry.unit, entry.high - entry.low)
    return max(entry.low, rest - reach), min(entry.high, rest + reach)


def _rest(name: str, parameter: str) -> float:
    """The value of a parameter while the control is off."""
    control = CONTROLS[name]
    entry = control.parameters[parameter]
    return entry.neutral if parameter == control.first else entry.default


class Desk:
    """The controls in the order in which they act.

    ``offered`` are the names that can be added, ``components`` the number of principal components
    of the film's codes, 0 without codes, ``second_run`` the folder of a run to mix with.
    """

    def __init__(self, offered: tuple[str, ...], components: int = 0, second_run: str = ""):
        self.controls: list[DeskControl] = []
        self.offered, self.components, self._second_run = offered, components, second_run

    def fill(self) -> None:
        """Adds the standard controls that are missing."""
        present = {control.name for control in self.controls}
        for wanted in STANDARD:
            needed = wanted.get("component", 1) if wanted["control"] in NEED_CODES else 0
            if needed <= self.components and wanted["control"] in set(self.offered) - present:
                self._append(read_control(wanted))
        if self._second_run and "mix_run" not in present:
            self._append(read_control({"control": "mix_run", "run": self._second_run}))

    def control(self, id: Any) -> DeskControl:
        """The control with an id; raises InputError if there is none."""
        for control in self.controls:
            if control.id == id:
                return control
        known = ", ".join(control.id for control in self.controls[:8]) or "none yet"
        raise InputError(f"there is no control {id!r:.60}: give one of {known}.")

    def add(self, name: Any, options: Any) -> None:
        """Adds a control that is off; raises InputError if there is no such control or option."""
        if name not in self.offered:
            raise InputError(
                f"{name!r:.60} cannot be added: give one of {', '.join(self.offered)}."
            )
        if len(self.controls) >= MAX_CONTROLS:
            raise InputError(f"there are {MAX_CONTROLS} controls already: remove one.")
        self._append(read_control({**_mapping(options), "control": str(name)}))

    def set_options(self, id: Any, options: Any) -> None:
        """Gives a control other options; raises InputError as ``add`` does."""
        control = self.control(id)
        merged = presets.plain_options(control.options) | _mapping(options)
        control.options = read_control({**merged, "control": control.name}).options

    def remove(self, id: Any) -> None:
        """Removes a control."""
        self.controls.remove(self.control(id))

    def move(self, id: Any, to: Any) -> None:
        """Moves a control to a position among those of its stage."""
        control = self.control(id)
        stage = CONTROLS[control.name].stage
        same = [c for c in self.controls if CONTROLS[c.name].stage == stage and c is not control]
        if isinstance(to, bool) or not isinstance(to, int):
            raise InputError(f"to={to!r:.40} is not a position: give a whole number from 0.")
        same.insert(min(max(0, to), len(same)), control)
        rest = [c for c in self.controls if CONTROLS[c.name].stage != stage]
        self.controls = _in_order([*rest, *same])

    def set(self, id: Any, parameter: Any, value: Any) -> DeskControl:
        """Sets a parameter to a number within its range, or to a curve; returns its control."""
        control = self.control(id)
        entry = CONTROLS[control.name].parameters.get(str(parameter))
        if entry is None:
            raise InputError(
                f"{control.id} has no parameter {parameter!r:.60}: give one of "
                f"{', '.join(CONTROLS[control.name].parameters)}."
            )
        if isinstance(value, int | float) and not isinstance(value, bool) and value == value:
            value = min(max(value, entry.low), entry.high)
        value = Value.of(value, f"{parameter} of {control.id}")
        control.curves[parameter] = curves.parse(value, entry.low, entry.high)
        return control

    def chosen(self, id: Any = None, parameter: Any = None) -> list[tuple[DeskControl, str]]:
        """The parameters that reset and random mean: one, those of a control, or all."""
        controls = self.controls if id is None else [self.control(id)]
        pairs = [(control, name) for control in controls for name in control.curves]
        pairs = [pair for pair in pairs if parameter in (None, pair[1])]
        if parameter is not None and not pairs:
            raise InputError(f"there is no parameter {parameter!r:.60}: give one of a control.")
        return pairs

    def reset(self, chosen: list[tuple[DeskControl, str]]) -> None:
        """Turns controls off."""
        for control, name in chosen:
            control.curves[name] = curves.Constant(_rest(control.name, name))

    def randomise(self, chosen: list[tuple[DeskControl, str]]) -> None:
        """Sets random values, most of them near those of a control that is off."""
        for control, name in chosen:
            rest, (low, high) = _rest(control.name, name), _slider(control.name, name)
            share = random.random() ** 2 * random.choice((-1, 1))
            far = high - rest if share > 0 else rest - low
            control.curves[name] = curves.Constant(round(rest + share * far, 4))

    def load(self, preset: Preset) -> None:
        """Replaces all controls by those of a preset."""
        self.controls = []
        for use in preset.controls:
            self._append(use, dict(use.curves))
        self.fill()

    def preset(self, about: str = "", codes: dict[str, Any] | None = None) -> Preset:
        """The controls that are not off, as a preset."""
        uses = [control.use() for control in self.controls if not control.is_neutral]
        return Preset(about=about, controls=tuple(uses), codes=codes or {})

    def structure(self) -> list[tuple]:
        """The controls and their options, for ``restore``."""
        return [(control, control.options) for control in self.controls]

    def restore(self, structure: list[tuple]) -> None:
        """Brings back controls and options; values stay as they are."""
        self.controls = [control for control, _ in structure]
        for control, options in structure:
            control.options = options

    def preset_of_all(self) -> Preset:
        """All controls, also those that are off."""
        return Preset(controls=tuple(control.use() for control in self.controls))

    def _append(self, use: ControlUse, given: dict[str, Any] | None = None) -> None:
        taken, number = {control.id for control in self.controls}, 1
        while f"{use.name}_{number}" in taken:
            number += 1
        rest = {name: curves.Constant(_rest(use.name, name)) for name in parameters(use.name)}
        if given is not None:  # of a preset: what it leaves out has its default
            entries = CONTROLS[use.name].parameters.items()
            rest = {name: curves.Constant(entry.default) for name, entry in entries} | given
        control = DeskControl(f"{use.name}_{number}", use.name, use.options, rest)
        self.controls = _in_order([*self.controls, control])


def read_control(plain: dict[str, Any]) -> ControlUse:
    """A control as a preset has it, from plain values; raises InputError if it is not valid."""
    return presets.parse(json.dumps({"controls": [plain]}), "the message").controls[0]


def _mapping(options: Any) -> dict[str, Any]:
    if not isinstance(options, dict | None):
        raise InputError(f"options {options!r:.60} are not an object: give names with values.")
    return options or {}


def _in_order(controls: list[DeskControl]) -> list[DeskControl]:
    return sorted(controls, key=lambda control: STAGES.index(CONTROLS[control.name].stage))
