"""Every refusal in the package is one sentence: the flag or file, the reason, the remedy."""

import ast
import re
from pathlib import Path

import pytest

import vae_gan_jax

PACKAGE = Path(vae_gan_jax.__file__).parent
REMEDIES = (
    "connect",
    *("add", "change", "check", "compare", "copy", "correct", "delete", "give", "install", "leave"),
    *("learn", "lower", "make", "mend", "name", "pip", "prepare", "put", "remove", "repair"),
    *("restore", "resume", "save", "start", "train", "unpack", "wait"),
)
VALUE = "{…}"  # in the place of each value of a message


def refusals():
    """The messages of all refusals in the package, with VALUE for values."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        constants = {
            node.targets[0].id: node.value.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            if isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(tree):
            name = getattr(node, "func", None)
            name = getattr(name, "attr", getattr(name, "id", None))
            if name in ("InputError", "refuse_together", "_refuse") and node.args:
                message = _text(node.args[0], constants)
                if re.search(r"\w", message.replace(VALUE, "")):  # not only passed on
                    yield pytest.param(message, id=f"{path.relative_to(PACKAGE)}:{node.lineno}")


def _text(node: ast.expr, constants: dict) -> str:
    """The text of an expression; the advice about a disk is a remedy."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, constants) for part in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left, constants) + _text(node.right, constants)
    if isinstance(node, ast.IfExp):
        return _text(node.body, constants)
    if isinstance(node, ast.FormattedValue):
        source = ast.unparse(node.value)
        return "check it" if source.endswith("remedy") or "advice(" in source else VALUE
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".format"):
        return re.sub(r"{\w*}", VALUE, constants.get(ast.unparse(node.func)[:-7], VALUE))
    return VALUE


@pytest.mark.parametrize("message", list(refusals()))
def test_a_refusal_names_flag_or_file_and_reason_and_remedy(message):
    assert "\n" not in message
    assert message.endswith(".")
    assert not re.search(r"[a-z]{2}[.!?] ", message), "one sentence"
    what, _, remedy = message.rstrip(".").replace("; ", ": ").rpartition(": ")
    assert VALUE in what or "--" in what, "the flag or file"
    assert len(what.replace(VALUE, "x").split()) >= 2, "the reason"
    assert remedy.split()[0].strip(",") in REMEDIES, "the remedy"


@pytest.mark.parametrize("message", list(refusals()))
def test_no_refusal_guesses_that_the_disk_is_full(message):
    if "should stay free" not in message:  # it was measured
        assert not re.search("make room|free some space|disk full", message)
