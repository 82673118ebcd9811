"""Processes that meet, here as threads: who is missing, twice there or unlike; who goes."""

import contextlib
import queue
import socket
import threading

import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.training.distributed import roll_call

PATIENCE = 10.0  # seconds, for what takes milliseconds


@pytest.fixture
def address():
    with socket.create_server(("localhost", 0)) as server:
        return f"localhost:{server.getsockname()[1]}"


@pytest.fixture
def all_meet(address, monkeypatch):
    """Meets in threads: ``all_meet((count, index, settings), …)``, what came of each, in order."""
    monkeypatch.setattr(roll_call, "LINGER", 0.1)
    lines = []

    def meet(*processes, timeout=PATIENCE):
        came = [None] * len(processes)

        def one(number, count, index, settings):
            ended = queue.Queue()
            try:
                line = roll_call.meet(address, count, index, settings, timeout, ended.put)
                lines.append(line)
                came[number] = line, ended
            except InputError as error:
                came[number] = error

        threads = [
            threading.Thread(target=one, args=(number, *process))
            for number, process in enumerate(processes)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * PATIENCE)
        return came

    yield meet
    for line in lines:
        line.close()
        line.hang_up()


def refusal(came) -> str:
    """The sentence of the first process; all others were told and say nothing."""
    for other in came[1:]:
        assert isinstance(other, roll_call.ToldError)
        assert not str(other)
    assert isinstance(came[0], InputError)
    return str(came[0])


def test_a_missing_process_is_named(all_meet):
    sentence = refusal(all_meet((4, 0, {}), (4, 2, {}), timeout=0.5))
    assert "2 of 4 processes came" in sentence
    assert "missing 1, 3" in sentence


def test_two_of_the_same_number_are_refused(all_meet):
    sentence = refusal(all_meet((3, 0, {}), (3, 1, {}), (3, 1, {})))
    assert "two processes with --process_id=1" in sentence


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ({"gamma": "3"}, "--gamma=2 and process 1 has --gamma=3"),
        ({}, "and process 1 has no --gamma"),
    ],
)
def test_unequal_flags_are_named(theirs, told, all_meet):
    sentence = refusal(
        all_meet((2, 0, {"gamma": "2", "seed": "1"}), (2, 1, theirs | {"seed": "1"}))
    )
    assert told in sentence


def test_unequal_counts_are_named(all_meet):
    assert "--num_processes=3" in refusal(all_meet((2, 0, {}), (3, 2, {})))


def test_without_a_first_process_each_says_so(all_meet, address):
    (error,) = all_meet((2, 1, {}), timeout=0.2)
    assert f"no process 0 at --coordinator_address={address}" in str(error)


def test_a_taken_port_is_told(all_meet, address):
    with socket.create_server(("", int(address.split(":")[1]))):
        (error,) = all_meet((2, 0, {}), timeout=0.2)
    assert "cannot be listened at" in str(error)


@pytest.mark.parametrize("address", ["localhost", "localhost:x", ":80"])
def test_an_address_has_host_and_port(address):
    with pytest.raises(InputError, match="give HOST:PORT"):
        roll_call.meet(address, 2, 0, {}, 1)


def test_strangers_do_not_matter(all_meet, address):
    def stray():
        with contextlib.suppress(OSError), socket.create_connection(address.split(":"), 1) as stray:
            stray.sendall(b"GET / HTTP/1.1\r\n\r\n")

    waiting = threading.Timer(0.2, stray)
    waiting.start()
    late = threading.Event()
    threading.Timer(0.6, late.set).start()
    came = []
    first = threading.Thread(target=lambda: came.extend(all_meet((2, 0, {}))))
    first.start()
    late.wait()
    came += all_meet((2, 1, {}))
    first.join()
    assert len([each for each in came if isinstance(each, tuple)]) == 2


def test_the_port_is_free_for_the_runtime_afterwards(all_meet, address):
    came = all_meet((2, 0, {}), (2, 1, {}))
    with socket.create_server(("", int(address.split(":")[1]))):
        assert all(isinstance(each, tuple) for each in came)


def test_who_goes_without_a_word_is_named_and_all_end(all_meet, capsys):
    (_, first), (second_line, _), (_, third) = all_meet((3, 0, {}), (3, 1, {}), (3, 2, {}))
    second_line.hang_up()
    assert first.get(timeout=PATIENCE) == third.get(timeout=PATIENCE) == roll_call.LOST
    assert capsys.readouterr().err.count("process 1 has gone without a word") == 1


def test_what_one_says_at_its_end_the_first_repeats_and_all_end(all_meet, capsys):
    (_, first), (line, second), (_, third) = all_meet((3, 0, {}), (3, 1, {}), (3, 2, {}))
    line.fail("the disk is full.", 2)
    for ended in (first, second, third):
        assert ended.get(timeout=PATIENCE) == 2
    assert capsys.readouterr().err.split("\n")[1:-1] == [
        "vae_gan_jax: process 1: the disk is full."
    ]


def test_what_all_find_out_is_said_once(all_meet, capsys):
    lines = all_meet((3, 0, {}), (3, 1, {}), (3, 2, {}))
    for line, _ in lines[::-1]:
        threading.Thread(target=line.fail, args=("too little memory.", 2)).start()
    for _, ended in lines:
        assert ended.get(timeout=PATIENCE) == 2
    (sentence,) = capsys.readouterr().err.split("\n")[1:-1]
    assert sentence.endswith("too little memory.")


def test_after_the_work_is_done_who_goes_is_not_missed(all_meet, capsys):
    (first, ended), (second, _) = all_meet((2, 0, {}), (2, 1, {}))
    first.close()
    second.close()
    second.hang_up()
    with pytest.raises(queue.Empty):
        ended.get(timeout=0.3)
    assert not capsys.readouterr().err
