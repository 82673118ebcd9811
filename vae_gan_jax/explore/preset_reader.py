"""Reads YAML as plain values that know their lines, and checks single values."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

import yaml

from vae_gan_jax.config import InputError, flag_text
from vae_gan_jax.explore import curves
from vae_gan_jax.explore.curves import CurveError, near

MAX_BYTES = 200_000  # of a text
MAX_DEPTH = 12  # of lists and mappings within each other
WORDS = {"true": True, "false": False, "null": None, "": None, "~": None}
NUMBER = r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?"


class PresetReader:
    """Reads one text; ``path`` arguments lead to a value, such as ``("controls", 0, "amount")``.

    Plain scalars are numbers, true, false or null where they look like it; everything else is
    text, also times such as 1:30 and words such as on, which YAML 1.1 takes for numbers and truth.
    All methods raise InputError with file and line.
    """

    def __init__(self, name: str):
        self.name, self._lines = name, {(): 1}

    def read(self, text: str) -> dict[str, Any]:
        """The mapping that a text holds."""
        if len(text.encode(errors="replace")) > MAX_BYTES:
            raise InputError(f"{self.name} has more than {MAX_BYTES} bytes: give a preset.")
        try:
            self._check(text)
            node = yaml.compose(text, yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            self._lines[()] = mark.line + 1 if mark else 1
            problem = getattr(error, "problem", None) or getattr(error, "reason", "")
            self.fail((), f"this is not YAML ({problem}): compare it with another preset")
        if not isinstance(node, yaml.MappingNode):
            self.fail((), "this is not a preset: begin it with about: and controls:")
        return self._plain(node, ())

    def _check(self, text: str) -> None:
        """Refuses aliases, which can stand for more values than fit into memory, and deep nests."""
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            self._lines[()] = event.start_mark.line + 1
            if isinstance(event, yaml.AliasEvent):
                self.fail((), f"*{event.anchor} repeats a value: write the value itself")
            if getattr(event, "tag", None):
                self.fail((), f"{event.tag} is a tag: leave it out")
            if depth > MAX_DEPTH:
                self.fail((), f"lists are nested more than {MAX_DEPTH} deep: give a preset")
        self._lines[()] = 1

    def _plain(self, node: yaml.Node, path: tuple) -> Any:
        self._lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, (*path, number)) for number, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            value = {}
            for key_node, value_node in node.value:
                key = key_node.value
                self._lines[(*path, str(key))] = key_node.start_mark.line + 1
                if not isinstance(key, str):
                    self.fail(path, "a list is the name of a value: give a name")
                if key in value:
                    self.fail((*path, key), f"{key} stands here twice: leave one out")
                value[key] = self._plain(value_node, (*path, key))
                self._lines[(*path, key)] = key_node.start_mark.line + 1
            return value
        return scalar(node.value) if node.style is None else node.value

    def place(self, path: tuple) -> str:
        """File and line of a value, or of the value around it."""
        while path not in self._lines:
            path = path[:-1]
        return f"{self.name}:{self._lines[path]}"

    def fail(self, path: tuple, message: str) -> NoReturn:
        """Raises InputError with the place and the message."""
        raise InputError(f"{self.place(path)}: {flag_text.printable(message)}.")

    def choice(self, path: tuple, value: Any, names: Collection[str]) -> str:
        """One of some names."""
        if not isinstance(value, str) or value not in names:
            self.fail(path, f"{path[-1]} is {value!s:.40}: {near(value, names)}")
        return value

    def text(self, path: tuple, value: Any) -> str:
        """A text that is not empty."""
        if not isinstance(value, str) or not value or "\0" in value:
            self.fail(path, f"{path[-1]} is {value!r:.40}, which is not text: give one")
        return value

    def number(self, path: tuple, value: Any, low: float, high: float) -> float:
        """A number in a range."""
        try:
            return curves.to_number(value, (), low, high)
        except CurveError as error:
            self.fail(path, f"{path[-1]} {error}")

    def whole(self, path: tuple, value: Any, low: float, high: float) -> int:
        """A whole number in a range."""
        number = self.number(path, value, low, high)
        if number != int(number):
            self.fail(path, f"{path[-1]} is {number:g}, which is not a whole number: give one")
        return int(number)

    def time(self, path: tuple, value: Any) -> float:
        """A time: seconds, or a text such as 0:01:30."""
        try:
            return curves.to_seconds(value, ())
        except CurveError as error:
            self.fail(path, f"{path[-1]} {error}")

    def times(self, path: tuple, value: Any) -> list[float]:
        """A list of times."""
        if isinstance(value, str) or not isinstance(value, Sequence):
            self.fail(path, f"{path[-1]} is not a list: give times such as [0:10, 0:40]")
        return [self.time((*path, number), time) for number, time in enumerate(value)]

    def mapping(self, path: tuple, value: Any, example: str) -> Mapping:
        """A mapping."""
        if not isinstance(value, Mapping):
            self.fail(path, f"{path[-1]} is not a mapping: give one such as {example}")
        return value


def scalar(text: str) -> Any:
    """The value of a plain scalar: a number, true, false, null or the text itself."""
    if text in WORDS:
        return WORDS[text]
    if re.fullmatch(r"[-+]?[0-9]{1,15}", text):
        return int(text)
    return float(text) if re.fullmatch(NUMBER, text) else text


class _Dumper(yaml.SafeDumper):
    """Quotes texts that ``scalar`` would read as other values."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None if isinstance(scalar(text), str) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _represent_text)


def flow(value: Any) -> str:
    """A plain value as YAML in one line."""
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, width=10**9, sort_keys=False,
        allow_unicode=True,
    )  # fmt: skip
    return text.removesuffix("\n").removesuffix("\n...")
