"""Which windows share a row, so that little of it is padding."""

import numpy as np


def pack(lengths: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """Assign every window to the row with the least room that is enough, the longest ones first.

    That is best-fit decreasing (Johnson 1973). For example, lengths [2, 5, 3, 1] and a capacity of
    5 give the rows [1, 0, 1, 2] and the offsets [3, 0, 0, 0].

    Args:
        lengths: [n] positions of each window, 1 to `capacity`.
        capacity: Positions of a row.

    Returns:
        [n] numbers of rows, from 0 without gaps, and [n] offsets in them.
    """
    rows, offsets = np.empty_like(lengths), np.empty_like(lengths)
    rows_by_room = [np.empty(0, dtype=lengths.dtype)] * (capacity + 1)
    count = 0
    for length in np.unique(lengths)[::-1]:
        waiting = np.flatnonzero(lengths == length)
        while len(waiting):
            rooms = (room for room in range(length, capacity) if len(rows_by_room[room]))
            room = next(rooms, capacity)
            if room == capacity:
                start, count = count, count - (-len(waiting) // (capacity // length))
                rows_by_room[room] = np.arange(start, count)
            chosen = rows_by_room[room][: len(waiting)]
            windows_of_rows, waiting = np.split(waiting, [len(chosen)])
            rows[windows_of_rows], offsets[windows_of_rows] = chosen, capacity - room
            rows_by_room[room] = rows_by_room[room][len(chosen) :]
            rows_by_room[room - length] = np.append(rows_by_room[room - length], chosen)
    return rows, offsets
