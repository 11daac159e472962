"""The ids in one run's snapshots, in 16 bytes each, since a member who moved between departments has not left."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

SnapshotIds = npt.NDArray[np.void]
"""Fingerprints of ids."""


# what may stand around and between a GUID's digits; PostgreSQL takes braces and any grouping by dashes
_NOT_DIGITS = str.maketrans("", "", "{}()- \t")
_GUID_DIGITS = 32


def fingerprint(item_id: str) -> bytes:
    """16 bytes that stand for one id, whatever its letter case; for a GUID, whichever way its digits are grouped.

    >>> fingerprint("{5B0C9F5E-3D0A-4F0B-9A53-0A4F6A0C7D11} ") == fingerprint("5b0c9f5e3d0a4f0b9a530a4f6a0c7d11")
    True
    """
    digits = item_id.translate(_NOT_DIGITS)
    same = digits if len(digits) == _GUID_DIGITS else item_id
    return hashlib.blake2b(same.lower().encode(), digest_size=16).digest()


def distinct_ids(fingerprints: Iterable[bytes]) -> SnapshotIds:
    """The distinct ones among fingerprints, each piece of which may hold many in a row."""
    return np.unique(np.frombuffer(b"".join(fingerprints), dtype="V16"))


def ids_of_all(snapshots: Iterable[SnapshotIds]) -> SnapshotIds:
    """The distinct ids among those that several snapshots hold."""
    return np.unique(np.concatenate([np.empty(0, "V16"), *snapshots]))


def places_of(ids: Sequence[str], known: SnapshotIds) -> list[int]:
    """The places of those ids that are known.

    >>> places_of(["a", "B", "c"], distinct_ids([fingerprint("b"), fingerprint("c")]))
    [1, 2]
    """
    asked = np.frombuffer(b"".join(map(fingerprint, ids)), dtype="V16")
    return [int(place) for place in np.flatnonzero(np.isin(asked, known))]
