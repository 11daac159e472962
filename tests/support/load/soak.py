"""Random cases for a while, on both versions of PostgreSQL."""

import csv
import io
import os
import random
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import Engine, create_engine

from sandbox.postgres import Postgres
from tasks.load.database import open_engine
from tasks.load.records import read_header
from tasks.load.rejects import reject_file
from tasks.s3 import S3Object, Snapshot
from tests.support.load.case import Case, Stage, random_case
from tests.support.load.judge import Fault
from tests.support.load.server import Server
from tests.support.load.shrink import shrunk


@dataclass
class Report:
    """What was tried, and the first cases of each kind of fault, made small."""

    cases: int = 0
    seconds: float = 0.0
    done: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = ", ".join(f"{name}={number}" for name, number in sorted(self.done.items()))
        head = f"{self.cases} cases in {self.seconds:.0f} s; {counts}"
        kinds = [f"{number} x {kind}" for kind, number in self.kinds.most_common()]
        return "\n".join([head, *kinds, *self.examples.values()])


class Catch:
    """Stands where reject files are put into S3, and reads the last one."""

    def __init__(self) -> None:
        self.last = b""

    def publish(self, snapshot: Snapshot, rejected: Any, *rest: Any, **more: Any) -> S3Object:
        self.last = reject_file(read_header(snapshot.path), rejected)
        return S3Object("bucket", f"{snapshot.object.key}.rejected/run.csv")

    def lines(self) -> dict[int, tuple[str, str]]:
        rows = csv.reader(io.StringIO(self.last.decode(), newline=""))
        return {int(row[0]): (row[1], row[2]) for row in list(rows)[1:]}


@contextmanager
def stage(version: int) -> Iterator[Stage]:
    """A server of that version, named by the environment."""
    catch = Catch()
    with Postgres(version) as postgres, tempfile.TemporaryDirectory() as folder:
        server = Server(postgres)
        with (
            patch.dict(os.environ, postgres.environment()),
            patch("tasks.load.upsert.publish_rejects", catch.publish),
            one_engine() as engine,
            patch("tasks.load.database.open_engine", lambda blocks: engine),
            patch("tasks.load.schema.open_engine", lambda blocks: engine),
        ):
            yield Stage(server, Path(folder), catch.lines)
        server.connection.close()


@contextmanager
def one_engine() -> Iterator[Engine]:
    """An engine for all loads: a new one each time would spend most of the time on compiling the same queries."""
    engine = create_engine(open_engine(None).url, pool_size=1)
    yield engine
    engine.dispose()


def soak(seed: int, seconds: float, versions: tuple[int, ...] = (18, 16), *, most_kinds: int = 1) -> Report:
    """Play cases until the time is over, or that many kinds of fault were found.

    Each version has its share of the time: the newest three quarters.
    """
    report, rng, began = Report(), random.Random(seed), time.monotonic()
    for number, version in enumerate(versions):
        share = 1.0 if number == len(versions) - 1 else 0.75
        until = began + seconds * share
        with stage(version) as place:
            while time.monotonic() < until and len(report.kinds) < most_kinds:
                play(place, random_case(rng.randrange(10**9)), report)
            report.done.update(place.done)
            report.done[f"loads on {version}"] += place.loads
    report.seconds = time.monotonic() - began
    return report


def play(place: Stage, case: Case, report: Report) -> None:
    """One case; a fault goes into the report, small."""
    report.cases += 1
    try:
        faults = place.play(case)
    except Exception:
        place.server.connection.rollback()
        faults, told = [Fault("the oracle failed", traceback.format_exc())], case
    else:
        told = case
        if faults and faults[0].kind not in report.kinds:
            told, faults = shrunk(place, case, faults)
    if faults:
        kind = faults[0].kind
        report.kinds[kind] += 1
        text = "\n".join(["", f"===== {kind}", *map(str, faults), told.told(place.server.schema)])
        report.examples.setdefault(kind, text)
