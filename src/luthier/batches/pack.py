"""Best-fit packing over the whole set: the fewest rows of a given capacity, no sample cut.

Best-fit decreasing: every sample, longest first, goes into the fullest row that still has room; its waste is at most 11/9 of
the optimum plus one row (Johnson 1974). O(n log capacity).
"""

from __future__ import annotations

from bisect import bisect_left, insort

import numpy as np

from luthier.errors import DataError


def pack(lengths: np.ndarray, capacity: int) -> list[np.ndarray]:
    """Rows of sample numbers; the lengths of each row sum to capacity at the most.

    lengths: int (samples).  The same input always gives the same rows. Raises DataError where a sample is longer than capacity.

    >>> [row.tolist() for row in pack(np.array([3, 5, 2, 4]), 7)]
    [[1, 2], [3, 0]]
    """
    if len(lengths) and lengths.max() > capacity:
        worst = int(lengths.argmax())
        raise DataError(f"sample {worst} has {lengths[worst]} tokens; a packed row holds {capacity}.", "Raise cutoff_len.")
    rows: list[list[int]] = []
    with_room: dict[int, list[int]] = {}  # room left -> rows that have exactly this much
    rooms: list[int] = []  # the keys of with_room, ascending
    for sample in np.argsort(-lengths, kind="stable"):
        length = int(lengths[sample])
        at = bisect_left(rooms, length)
        if at == len(rooms):
            row, room = len(rows), capacity
            rows.append([])
        else:
            room = rooms[at]
            row = with_room[room].pop()
            if not with_room[room]:
                del with_room[room], rooms[at]
        rows[row].append(int(sample))
        left = room - length
        if left:
            if left not in with_room:
                with_room[left] = []
                insort(rooms, left)
            with_room[left].append(row)
    return [np.array(row, dtype=np.int64) for row in rows]
