"""A performance: what its pages share, and who hears of a change."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vae_gan_jax.config import InputError
from vae_gan_jax.explore import presets
from vae_gan_jax.live import outputs, requests
from vae_gan_jax.live.desk import Desk
from vae_gan_jax.live.folder import PRESETS, RECORDINGS, LiveFolder
from vae_gan_jax.live.live_sound import LiveSound
from vae_gan_jax.live.recording import Recording
from vae_gan_jax.live.renderer import Meter, Renderer, Result, Show
from vae_gan_jax.live.sources import Input, StageSource
from vae_gan_jax.run import disk_errors

logger = logging.getLogger(__name__)


class Session:
    """What all pages share. Its methods run in the event loop.

    Args:
      live_run: the model, its film and what it offers, a ``live.live_run.LiveRun``.
      folder: of presets and recordings.
    """

    def __init__(self, live_run, folder: LiveFolder):
        self.live_run, self.folder, self.pages = live_run, folder, []
        self.desk = Desk(live_run.offered, second_run=live_run.second_run)
        self.sound, self.meter = LiveSound(), Meter()
        self.preset_name, self.preset_about, self.is_changed = None, "", False
        self.outputs: dict[str, outputs.Output] = {}
        self.osc_send: Callable[[str, float], None] = lambda address, value: None
        self._loop = asyncio.get_running_loop()
        self._workers = ThreadPoolExecutor(1, "compiler")  # one change after the other
        self.began, self._has_ended = time.monotonic(), False
        self._shown_progress = math.nan  # of encoding the film
        self._wanted = self._compiled = 0  # versions of the desk's structure
        self._playing: list[tuple] = []  # the desk's structure that plays
        self._tasks: set[asyncio.Task] = set()
        self.renderer = Renderer(
            live_run.show(presets.Preset()),
            live_run.rate,
            self._sound_of,
            lambda result: self._loop.call_soon_threadsafe(self._publish, result),
            self.fail_from_thread,
        )
        self.source = StageSource(live_run, self.renderer.slot.put, self.fail_from_thread)
        self.renderer.film_start = self.source.film_start
        self.recording: Recording | None = None
        self.latest: Result | None = None
        self.published = asyncio.Event()

    async def start(self) -> None:
        """Begins the show; the film is encoded in the background."""
        self.renderer.start()
        self.spawn(self._begin())
        self.spawn(self._count())

    async def close(self) -> None:
        """Ends the show; completes the recording."""
        self._has_ended = True
        for task in self._tasks:
            task.cancel()
        recording, self.recording = self.recording, None
        if recording:
            try:
                await asyncio.to_thread(recording.finish)
            except Exception as error:
                self._tell_error(error, "record")
        self.source.close()
        await asyncio.to_thread(self.renderer.close)
        for name in list(self.outputs):
            self.close_output(name)
        self._workers.shutdown(wait=False, cancel_futures=True)
        self.live_run.close()

    def spawn(self, work, about: str | None = None, page=None) -> asyncio.Task:
        """Runs a coroutine in the background; its errors become messages.

        ``about`` is the type of the ``page``'s message that it answers; without one all pages hear,
        and the log says it too.
        """

        def ended(task: asyncio.Task) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()):
                self._tell_error(error, about, page)

        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(ended)
        return task

    async def _begin(self) -> None:
        await asyncio.to_thread(self.renderer.show.prepare, True)
        self.source.begin()
        self.tell_state()
        await asyncio.wait([self.spawn(self._find_codes())])  # may fail: then without codes
        self.source.begin()
        self.desk.components = self.live_run.components
        self.desk.fill()
        await self.rebuild()

    async def _find_codes(self) -> None:
        message = await self._loop.run_in_executor(
            None, self.live_run.find_codes, self._tell_progress
        )
        if message:
            self.tell(message)

    def _tell_progress(self, done: float) -> None:
        """Sends each new hundredth of the progress to all pages, from any thread.

        Raises InputError after the show, which ends the encoding of the film.
        """
        if self._has_ended:
            run = self.live_run.model.config.run_dir
            raise InputError(f"the show of {run} ended before the film was encoded: start again.")
        done = round(done, 2)
        if done != self._shown_progress:
            self._shown_progress = done
            self._loop.call_soon_threadsafe(self.tell, {"type": "codes", "done": done})

    async def rebuild(self, fade_seconds: float = 0.0, restart: bool = False) -> None:
        """Compiles the desk's controls in the background, then plays them.

        If they cannot be played, the desk gets back those that play. Raises InputError then.
        """
        self._wanted += 1
        version, preset, structure = self._wanted, self.desk.preset_of_all(), self.desk.structure()
        self.tell_state()
        try:
            show = await self._loop.run_in_executor(self._workers, self._build, version, preset)
            if show and version == self._wanted:
                self.renderer.replace(show, fade_seconds, restart)
                self._workers.submit(show.prepare, not self.source.gives_frames)
                self._playing = structure
        except InputError:
            if version == self._wanted:
                self.desk.restore(self._playing)
                self.spawn(self.rebuild())
            raise
        finally:
            self._compiled = max(self._compiled, version)
            self.tell_state()

    def _build(self, version: int, preset) -> Show | None:
        if version != self._wanted:  # changed again meanwhile
            return None
        show = self.live_run.show(preset)
        show.prepare(self.source.gives_frames)
        return show

    def _sound_of(self, item: Input):
        """The sound that curves follow: the page's, else that of the film that plays."""
        if self.sound.is_heard:
            return self.sound
        return self.live_run.sound if self.source.kind == "film" else None

    def _publish(self, result: Result) -> None:
        self.latest = result
        self.meter.count(result)
        if self.recording:
            self.recording.show(result)
        for page in self.pages:
            page.offer(result)
        self.published.set()
        self.published.clear()
        for name in list(self.outputs):
            try:
                self.outputs[name].send(result.frame_HWC)
            except Exception as error:  # whatever the library raises
                self.close_output(name)
                reason = disk_errors.reason(error)
                sentence = f"the output {name} failed ({reason}) and is off now: turn it on again."
                self._tell_error(InputError(sentence), "output")
                self.tell_state()

    def close_output(self, name: str) -> None:
        """Closes an output; the library's errors are only logged, as nothing depends on it."""
        try:
            self.outputs.pop(name).close()
        except Exception as error:
            logger.warning("the output %s: %s", name, disk_errors.reason(error))

    async def _count(self) -> None:
        """Sends the meter once a second, and the values of moving parameters more often."""
        ticks = 0
        while True:
            await asyncio.sleep(0.2)
            ticks += 1
            if self.latest and self.pages:
                self._tell_values()
            if ticks % 5 == 0:
                self.tell(self.meter.message(self))

    def _tell_values(self) -> None:
        item = self.latest.input
        now, sound, values = [self.renderer.seconds(item)], self._sound_of(item), {}
        for control in self.desk.controls:
            moving = {
                name: round(float(curve.values(now, sound)[0]), 4)
                for name, curve in control.curves.items()
                if isinstance(curve.plain(), dict)
            }
            if moving:
                values[control.id] = moving
        if values:
            self.tell({"type": "values", "values": values})

    # What goes to the pages.

    def tell(self, message: dict[str, Any], but=None) -> None:
        """Sends a message to all pages ``but`` one."""
        for page in self.pages:
            if page is not but:
                page.tell(message)

    def tell_state(self) -> None:
        """Sends every page the state."""
        for page in self.pages:
            page.tell(self.state(page))

    def fail_from_thread(self, sentence: str) -> None:
        """Tells all pages of an error, from any thread."""
        message = {"type": "error", "message": sentence, "about": None}
        self._loop.call_soon_threadsafe(self.tell, message)

    def _tell_error(self, error: Exception, about: Any, page=None) -> None:
        sentence = str(error)
        if not isinstance(error, InputError):
            logger.error("an error in the live server:", exc_info=error)
            sentence = f"{about or 'the server'} failed ({sentence}): look into the log."
        elif page is None:
            logger.warning("%s", sentence)
        message = {"type": "error", "message": sentence[:600], "about": about}
        (page.tell if page else self.tell)(message)

    def state(self, page) -> dict[str, Any]:
        """The message ``state`` of PROTOCOL.md for a page."""
        preset = {"name": self.preset_name, "changed": self.is_changed, "about": self.preset_about}
        return {
            "type": "state",
            "source": self.source.state(page),
            "controls": [control.state() for control in self.desk.controls],
            "preset": preset if self.preset_name else None,
            "presets": self.folder.names(PRESETS),
            "recordings": self.folder.names(RECORDINGS),
            "recording": self.recording and self.recording.state(),
            "outputs": sorted(self.outputs),
            "fading": round(self.renderer.fading, 3),
            "compiling": self._compiled < self._wanted,
        }

    # What comes from the pages, from OSC, and from a page that leaves.

    def handle(self, page, message: dict[str, Any]) -> None:
        """Does what a page's message asks, or answers with an error."""
        kind = message.get("type")
        try:
            if not isinstance(kind, str) or kind not in requests.REQUESTS:
                raise InputError(f"a message has the unknown type {kind!r:.60}: check the page.")
            work = requests.REQUESTS[kind](self, page, message)
            if work is not None:
                self.spawn(work, kind, page)
        except Exception as error:
            self._tell_error(error, kind, page)

    def leave(self, page) -> None:
        """Forgets a page that closed; its last frame stays."""
        self.pages.remove(page)
        if self.source.owner is page:
            self.source.owner = None
            self.tell_state()

    def set(self, id: Any, parameter: Any, value: Any, by=None, by_osc: bool = False) -> None:
        """Sets a parameter; tells all others. Raises InputError as ``Desk.set`` does."""
        control = self.desk.set(id, parameter, value)
        self.is_changed = True
        self.tell_set(control, parameter, by, by_osc)

    def tell_set(self, control, parameter: str, by=None, by_osc: bool = False) -> None:
        """Tells pages and OSC what a parameter is now."""
        value = control.value(parameter)
        about = {"type": "set", "id": control.id, "parameter": parameter}
        self.tell(about | value, but=by)
        if value["value"] is not None and not by_osc:
            self.osc_send(f"/{control.id}/{parameter}", value["value"])

    def receive_osc(self, address: str, values: list[Any]) -> None:
        """Sets the parameter of an address; raises InputError if that is impossible."""
        id, _, parameter = address.strip("/").partition("/")
        number = values[0] if values else None
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise InputError(f"OSC {address:.80} has no number: give one.")
        self.set(id, parameter, float(number), by_osc=True)
