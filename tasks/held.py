"""Which ids the snapshots of one run hold, in 16 bytes each: who moved from one department to another has not left."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Held = npt.NDArray[np.void]
"""Fingerprints of ids."""


def fingerprint(item_id: str) -> bytes:
    """16 bytes that stand for one id, whatever its letter case."""
    return hashlib.blake2b(item_id.lower().encode(), digest_size=16).digest()


def held_ids(fingerprints: Iterable[bytes]) -> Held:
    """The distinct ones among fingerprints, each piece of which may hold many in a row."""
    return np.unique(np.frombuffer(b"".join(fingerprints), dtype="V16"))


def held_by(snapshots: Iterable[Held]) -> Held:
    """The distinct ids among those that several snapshots hold."""
    return np.unique(np.concatenate([np.empty(0, "V16"), *snapshots]))


def which_held(ids: Sequence[str], held: Held) -> list[int]:
    """The places of those ids that are held.

    >>> which_held(["a", "B", "c"], held_ids([fingerprint("b"), fingerprint("c")]))
    [1, 2]
    """
    asked = np.frombuffer(b"".join(map(fingerprint, ids)), dtype="V16")
    return [int(place) for place in np.flatnonzero(np.isin(asked, held))]
