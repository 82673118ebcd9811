"""The values of presets: read from YAML with their lines, checked one by one, and written."""

import contextlib
import dataclasses
import difflib
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import yaml

from vae_gan_jax.config import InputError, flag_text

MAX_BYTES = 200_000  # of a text
MAX_DEPTH = 12  # of lists and mappings within each other
MAX_SECONDS = 1e6  # of a time, a length or a period
WORDS = {"true": True, "false": False, "null": None, "": None, "~": None}
NUMBER = r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?"


@dataclasses.dataclass(frozen=True, repr=False)
class Value:
    """A value with its name and place; every method raises InputError if it is another value.

    ``plain`` is a number, text, truth or None; a list or a mapping holds Values.
    """

    plain: Any
    name: str
    place: str = ""  # "FILE:LINE: ", for messages

    @classmethod
    def of(cls, plain: Any, name: str) -> "Value":
        """The value of numbers, texts, lists and mappings."""
        if isinstance(plain, Mapping):
            return cls({str(key): cls.of(value, str(key)) for key, value in plain.items()}, name)
        if isinstance(plain, list | tuple):
            return cls([cls.of(value, _name_in(name)) for value in plain], name)
        return cls(plain, name)

    def __repr__(self) -> str:
        return "nothing" if self.plain is None else repr(self.plain)

    def fail(self, message: str) -> NoReturn:
        """Raises InputError with the place, the name and the message."""
        raise InputError(f"{self.place}{flag_text.printable(f'{self.name} {message}')}.")

    def number(self, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number in a range."""
        if isinstance(self.plain, bool) or not isinstance(self.plain, int | float):
            self.fail(f"is {self!r:.40}, which is not a number: give one")
        try:
            number = float(self.plain)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            self.fail(f"is {number}, which is not finite: give a finite number")
        if not low <= number <= high:
            limits = f"{low:g} or more" if math.isinf(high) else f"{low:g} to {high:g}"
            self.fail(f"is {number:g}, outside its range: give {limits}")
        return number

    def whole(self, low: float, high: float) -> int:
        """A whole number in a range."""
        number = self.number(low, high)
        if number != int(number):
            self.fail(f"is {number:g}, which is not a whole number: give one")
        return int(number)

    def seconds(self) -> float:
        """A time: seconds, or a text such as 0:01:30."""
        if not isinstance(self.plain, str):
            return self.number(0, MAX_SECONDS)
        try:
            return Value(flag_text.parse_time(self.plain), self.name, self.place).seconds()
        except ValueError as error:
            self.fail(f"is {self.plain}, which {error}")

    def text(self) -> str:
        """A text that is not empty."""
        if not isinstance(self.plain, str) or not self.plain or "\0" in self.plain:
            self.fail(f"is {self!r:.40}, which is not text: give one, in quotes if it is a number")
        return self.plain

    def choice(self, names: Collection[str]) -> str:
        """One of some names."""
        if not isinstance(self.plain, str) or self.plain not in names:
            shown = self.plain if isinstance(self.plain, str) else ""
            self.fail(f"is {shown or repr(self):.40}: {near(shown, names)}")
        return self.plain

    def items(self, example: str) -> Sequence["Value"]:
        """The values of a list."""
        if not isinstance(self.plain, list):
            self.fail(f"is not a list: give one such as {example}")
        return self.plain

    def mapping(self, names: Collection[str], owner: str) -> Mapping[str, "Value"]:
        """The values of a mapping that has no other names than these; ``owner`` has them."""
        if not isinstance(self.plain, Mapping):
            self.fail(f"is not a mapping: give one with {' or '.join(names)}")
        for name, value in self.plain.items():
            if name not in names:
                value.fail(f"does not belong to {owner}: {near(name, names)}")
        return self.plain


@contextlib.contextmanager
def errors_at(place: str) -> Iterator[None]:
    """Begins the sentence of an InputError with its place in a preset, "FILE:LINE: "."""
    try:
        yield
    except InputError as error:
        raise type(error)(f"{place}{error}") from None


def near(name: str, names: Collection[str]) -> str:
    """Advice to give one of the names nearest to this one, or any if none is near."""
    close = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f"give {' or '.join(close or sorted(names)) or 'none'}"


def read(text: str, file: str) -> Value:
    """The value of a YAML text.

    Plain scalars are numbers, true, false or null where they look like it; everything else is
    text, also times such as 1:30 and words such as on, which YAML 1.1 takes for numbers and truth.

    Raises InputError with ``file`` and line if the text is not YAML, is too long, or repeats values
    by reference, which can stand for more values than fit into memory.
    """
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise InputError(f"{file} has more than {MAX_BYTES} bytes: give a preset.")

    def refuse(mark: yaml.Mark | None, message: str) -> NoReturn:
        raise InputError(f"{_place(file, mark)}{flag_text.printable(message)}.")

    depth = 0
    try:
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent):
                message = f"*{event.anchor} repeats a value: write the value itself"
                refuse(event.start_mark, message)
            if getattr(event, "tag", None):
                refuse(event.start_mark, f"{event.tag} is a tag: leave it out")
            if depth > MAX_DEPTH:
                refuse(event.start_mark, f"this is nested in over {MAX_DEPTH} levels: give fewer")
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or getattr(error, "reason", "")
        message = f"this is not YAML ({problem}): compare it with another preset"
        refuse(getattr(error, "problem_mark", None), message)
    if not isinstance(node, yaml.MappingNode):
        refuse(None, "this is not a preset: begin it with about: and controls:")
    return _value(node, file, "the preset", None)


def _value(node: yaml.Node, file: str, name: str, mark: yaml.Mark | None) -> Value:
    """The value of a node, whose name is at a mark."""
    place = _place(file, mark or node.start_mark)
    if isinstance(node, yaml.SequenceNode):
        items = [_value(item, file, _name_in(name), None) for item in node.value]
        return Value(items, name, place)
    if isinstance(node, yaml.ScalarNode):
        return Value(scalar(node.value) if node.style is None else node.value, name, place)
    values = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node.value, str):
            Value(None, name, place).fail("has a list as the name of a value: give a name")
        value = _value(value_node, file, key_node.value, key_node.start_mark)
        if value.name in values:
            value.fail("stands here twice: leave one out")
        values[value.name] = value
    return Value(values, name, place)


def _name_in(name: str) -> str:
    """The name of what a list holds."""
    return name if name.startswith("a value in ") else f"a value in {name}"


def _place(file: str, mark: yaml.Mark | None) -> str:
    return f"{file}:{mark.line + 1 if mark else 1}: "


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
