import fcntl
import os
import struct
import sys
import termios

import pytest

from stages.cli.progress import LINE_SECONDS, Lines, progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_there_is_a_line_a_minute_at_most(capsys: pytest.CaptureFixture) -> None:
    clock = Clock()
    lines = Lines("inner_val epochs", 100, may_end_early=True, clock=clock)
    for epoch in range(25):
        clock.now += 10
        lines.advance(note=f"loss {epoch}")
    assert capsys.readouterr().err.splitlines() == [
        "inner_val epochs: 6 of at most 100, loss 5; at most 16 min left",
        "inner_val epochs: 12 of at most 100, loss 11; at most 15 min left",
        "inner_val epochs: 18 of at most 100, loss 17; at most 14 min left",
        "inner_val epochs: 24 of at most 100, loss 23; at most 13 min left",
    ]


def test_what_was_done_before_does_not_count_as_fast(capsys: pytest.CaptureFixture) -> None:
    clock = Clock()
    lines = Lines("ml.zip", 3_000_000, start=1_000_000, is_bytes=True, clock=clock)
    clock.now += LINE_SECONDS
    lines.advance(500_000)
    assert capsys.readouterr().err == "ml.zip: 1.50MB of 3.00MB; 3 min left\n"


def test_an_unknown_total_is_left_out(capsys: pytest.CaptureFixture) -> None:
    clock = Clock()
    lines = Lines("ml.zip", 0, is_bytes=True, clock=clock)
    clock.now += LINE_SECONDS
    lines.advance(2_000_000)
    assert capsys.readouterr().err == "ml.zip: 2.00MB\n"


def test_a_file_gets_neither_a_bar_nor_carriage_returns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("stages.cli.progress.LINE_SECONDS", 0.0)
    with progress("users", 3) as advance:
        for _ in range(3):
            advance()
    text = capsys.readouterr().err
    assert text.count("\n") == 3
    assert "\r" not in text


@pytest.mark.parametrize("columns", [80, 0])
def test_a_terminal_with_a_width_gets_a_bar_that_is_gone_at_the_end(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.cli.progress.LINE_SECONDS", 0.0)
    reader, writer = os.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(writer, "w") as terminal, os.fdopen(reader, "rb", buffering=0) as screen:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress("users", 3) as advance:
            advance(3, "loss 1")
        terminal.flush()
        text = screen.read(10_000).decode()
    assert "users" in text
    assert ("\n" in text) == (columns == 0)
    assert ("\r" in text.replace("\r\n", "")) == (columns > 0)


def test_nothing_is_shown_that_is_not_enabled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("stages.cli.progress.LINE_SECONDS", 0.0)
    with progress("users", 3, enable=False) as advance:
        advance(1, "note")
    assert capsys.readouterr().err == ""
