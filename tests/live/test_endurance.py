"""Five minutes of performing do not let the memory grow."""

import asyncio
import time

import psutil
import pytest

from tests.live.test_server import one_frame, run

MINUTES, MAX_GROWTH_BYTES = 5, 30e6


@pytest.mark.slow
def test_five_minutes_of_frames_sliders_and_presets_keep_the_memory(live):
    process = psutil.Process()

    async def perform(client):
        await client.become_source()
        sizes, number, end = [], 0, time.monotonic() + 60 * MINUTES
        while time.monotonic() < end:
            number += 1
            await client.send_frame(one_frame(number % 7), number)
            await client.result(lambda message, number=number: message.number == number)
            await client.say("set", id="blend_1", parameter="amount", value=number % 10 / 10)
            await client.say("sound", low=number % 10 / 10)
            if number % 100 == 0:
                await client.say("save", name="endurance", replace=True)
                await client.say("load", name="endurance", seconds=0.2)
            if number % 10 == 0:
                sizes.append(process.memory_info().rss)
            await asyncio.sleep(0.02)
        fifth = len(sizes) // 5
        assert min(sizes[-fifth:]) - min(sizes[fifth : 2 * fifth]) < MAX_GROWTH_BYTES

    run(live, perform, within_seconds=60 * MINUTES + 60)
