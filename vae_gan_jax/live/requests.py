"""What each message of a page does: functions of (session, page, message).

A function that returns a coroutine goes on in the background. All raise InputError for bad input.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from vae_gan_jax.config import InputError, field
from vae_gan_jax.explore import presets
from vae_gan_jax.film.sound import FEATURES
from vae_gan_jax.live import frames, outputs
from vae_gan_jax.live.folder import PRESETS
from vae_gan_jax.live.recording import Recording
from vae_gan_jax.run import atomic_io, disk_errors

MAX_FADE_SECONDS, MAX_ABOUT_LETTERS = 120.0, 300


def number(message: dict[str, Any], name: str, default: float | None = None) -> float:
    """A finite number of a message."""
    return field.finite(name, message.get(name, default))


def text(message: dict[str, Any], name: str, default: str | None = None) -> str:
    """A text of a message."""
    value = message.get(name, default)
    if not isinstance(value, str):
        raise InputError(f"{name}={value!r:.40} is not text: give one.")
    return value


def flag(message: dict[str, Any], name: str) -> bool:
    """True or false of a message."""
    value = message.get(name, False)
    if not isinstance(value, bool):
        raise InputError(f"{name}={value!r:.40} is neither true nor false: give one of them.")
    return value


def use_source(session, page, message):
    """``source``."""
    loop = message.get("loop")
    if loop is not None:
        if not isinstance(loop, list) or len(loop) != 2:
            raise InputError(f"loop={loop!r:.40} is not a range: give [from, to] in seconds.")
        loop = tuple(number({"loop": end}, "loop") for end in loop)
    session.source.use(message.get("kind"), page, loop)
    session.tell_state()


def go(session, page, message):
    """``go``."""
    session.source.go(number(message, "time"))
    session.tell_state()


def point(session, page, message):
    """``point``."""
    nearest = session.live_run.nearest(number(message, "x"), number(message, "y"))
    was_moment = session.source.kind == "moment"
    session.source.show_frame(nearest)
    if not was_moment:
        session.tell_state()


def play(session, page, message):
    """``play``."""
    session.source.play(flag(message, "playing"))
    session.tell_state()


def set_parameter(session, page, message):
    """``set``."""
    value = message["curve"] if message.get("curve") is not None else message.get("value")
    session.set(message.get("id"), message.get("parameter"), value, by=page)


def _change(session, message, change: Callable) -> None:
    chosen = session.desk.chosen(message.get("id"), message.get("parameter"))
    change(chosen)
    session.is_changed = True
    for control, name in chosen:
        session.tell_set(control, name)


def _restructured(change: Callable) -> Callable:
    """Handles a message that changes which controls there are."""

    async def work(session, message):
        change(session.desk, message)
        session.is_changed = True
        await session.rebuild()

    return lambda session, page, message: work(session, message)


async def _play_preset(session, preset, name: str | None, fade_seconds: float) -> None:
    session.desk.load(preset)
    await session.rebuild(fade_seconds, restart=True)
    session.preset_name, session.preset_about, session.is_changed = name, preset.about, False
    session.tell_state()
    if fade_seconds:
        await asyncio.sleep(fade_seconds + 0.2)
        session.tell_state()


def _fade_seconds(message) -> float:
    return min(max(0.0, number(message, "seconds", 0.0)), MAX_FADE_SECONDS)


def load(session, page, message):
    """``load``."""
    name = text(message, "name")
    preset = presets.load(session.folder.existing(PRESETS, name))
    return _play_preset(session, preset, name, _fade_seconds(message))


def load_text(session, page, message):
    """``load_text``."""
    preset = presets.parse(text(message, "text"), "the dropped preset")
    return _play_preset(session, preset, "dropped", _fade_seconds(message))


def clear(session, page, message):
    """``clear``."""
    return _play_preset(session, presets.Preset(), None, 0.0)


def save(session, page, message):
    """``save``."""
    name, about = text(message, "name"), text(message, "about", "")[:MAX_ABOUT_LETTERS]
    path = session.folder.path_of(PRESETS, name)
    if path.exists() and not flag(message, "replace"):
        raise InputError(f"there is a preset {name} already: give another name, or replace it.")
    codes = {"walk": "film"} if session.source.kind == "walk" else {}
    preset = session.desk.preset(about, codes)
    if not preset.controls:
        raise InputError(f"{name} would be empty as every control is off: change one first.")
    with disk_errors.readable(f"{path} cannot be written"):
        atomic_io.write(path, presets.dump(preset))
    session.preset_name, session.preset_about, session.is_changed = name, about, False
    session.tell_state()


def record(session, page, message):
    """``record``."""
    if not flag(message, "on"):
        return _finish_recording(session)
    if session.recording:
        name = session.recording.path.name
        raise InputError(f"{name} is being recorded: wait for its end.")
    sound = message.get("sound", "none")
    session.recording = Recording(session.live_run, session.folder, sound, page)
    session.tell_state()
    return None


async def _finish_recording(session) -> None:
    recording, session.recording = session.recording, None
    if recording is None:
        raise InputError("--mode=live is not recording: start a recording.")
    try:
        recorded = await asyncio.to_thread(recording.finish)
    finally:
        session.tell_state()
    session.tell(recorded)


def hear(session, page, message):
    """``sound``."""
    session.sound.hear({name: number(message, name, 0.0) for name in FEATURES})


def output(session, page, message):
    """``output``."""
    name, config = text(message, "name"), session.live_run.model.config
    if name in session.outputs:
        session.close_output(name)
    try:
        if flag(message, "on"):
            size = config.width, config.height
            session.outputs[name] = outputs.open_output(name, *size, session.live_run.rate)
    finally:
        session.tell_state()


def picture_format(session, page, message):
    """``format``."""
    name = text(message, "picture", "rgba")
    if name not in frames.FORMATS:
        raise InputError(
            f"picture={name:.40} is not a format: give one of {', '.join(frames.FORMATS)}."
        )
    page.format, page.wants_source = frames.FORMATS[name], flag(message, "source")


def shown(session, page, message):
    """``shown``."""
    page.confirm(int(number(message, "number")))
    if "latency_ms" in message and message["latency_ms"] is not None:
        session.meter.latency(number(message, "latency_ms"))


REQUESTS = {
    "source": use_source, "go": go, "point": point, "play": play,
    "set": set_parameter,
    "reset": lambda session, page, message: _change(session, message, session.desk.reset),
    "random": lambda session, page, message: _change(session, message, session.desk.randomise),
    "load": load, "load_text": load_text, "clear": clear, "save": save,
    "record": record, "sound": hear, "output": output, "format": picture_format, "shown": shown,
    "add": _restructured(lambda desk, m: desk.add(m.get("control"), m.get("options"))),
    "options": _restructured(lambda desk, m: desk.set_options(m.get("id"), m.get("options"))),
    "remove": _restructured(lambda desk, m: desk.remove(m.get("id"))),
    "move": _restructured(lambda desk, m: desk.move(m.get("id"), m.get("to"))),
}  # fmt: skip
