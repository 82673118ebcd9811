"""Which modes use a flag; a flag that changes nothing is refused."""

from collections.abc import Set
from typing import Any

from vae_gan_jax.config.flag_text import InputError
from vae_gan_jax.config.settings import FIELDS

GROUPS = ("output", "exploring", "live")  # of flags that only some modes use
OF_OTHER_GROUPS = {"source", "profile", "topology", "estimate_time"}  # that some modes use
_names = {
    group: {name for name, field in FIELDS.items() if field.metadata["group"] == group}
    for group in GROUPS
}
FILM_FORMAT = {"codec", "quality", "upscale", "sound"}
INFERENCE = {"reconstruct_noise", "batch_norm"}
# Flags of reading and writing films, which flagfiles of runs hold and the Python API takes.
OF_FILMS = {"source", "layout"} | FILM_FORMAT | INFERENCE
# Flags that the modes of ``LEARN`` record for later commands.
RECORDED = OF_FILMS | _names["exploring"] | {"output", "frames_out"}
LEARN = ("all", "prepare", "train")
TAKES = {
    "all": {"compare", "profile"},
    "train": {"profile"},
    "reconstruct": OF_FILMS | {"output", "frames_out", "preset"},
    "encode": {"source", "output"},
    "decode": {"codes", "source", "output", "frames_out"} | FILM_FORMAT,
    "export": {"source", "output", "web", "onnxruntime_web"},
    "evaluate": {"source", "compare"} | INFERENCE,
    "figures": {"source", "every", "at"} | INFERENCE,
    "explore": _names["exploring"] - {"every"}
    | {"preset", "codes", "source", "output", "frames_out", "batch_norm"}
    | FILM_FORMAT,
    "live": _names["live"] | INFERENCE,
    "passthrough": {"source", "output"} | FILM_FORMAT,
    "benchmark": {"source", "seconds", "output"} | FILM_FORMAT | INFERENCE,
    "plan": {"topology", "estimate_time", "output"},
}


def refuse_ignored(
    given: dict[str, Any],
    recorded: dict[str, Any],
    mode: str,
    own: Set[str] = frozenset(),
    takes: Set[str] = frozenset(),
) -> None:
    """Raises InputError if a given setting changes nothing.

    Args:
      given, recorded: settings of this command and of its run; a flagfile may repeat the run's.
      mode: the mode of the command.
      own: settings that the mode does not inherit from the run.
      takes: settings that may be given besides those of the mode.
    """
    taken = TAKES.get(mode, set()) | takes
    taken |= RECORDED if mode in LEARN else OF_FILMS if mode in ("benchmark", "plan") else set()
    for name in sorted(given.keys() & OF_OTHER_GROUPS.union(*_names.values()) - taken):
        neutral = [FIELDS[name].default]
        if name in recorded and name not in own:
            neutral.append(recorded[name])
        if given[name] not in neutral:
            modes = ", ".join(mode for mode, names in TAKES.items() if name in names)
            alone = " without --compare" if mode == "evaluate" and "compare" not in given else ""
            raise InputError(
                f"--{name} is for --mode={modes} and changes nothing with --mode={mode}{alone}: "
                "leave it out."
            )
