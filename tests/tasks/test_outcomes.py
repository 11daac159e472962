"""Many scopes of one run: whose failure stops the run, what the alert lists, which comes first."""

import pytest

from tasks.errors import (
    AuthError,
    ConfigError,
    LmsUnavailable,
    ObjectInvalid,
    PipelineError,
    ScopesFailed,
    SnapshotShrank,
)
from tasks.outcomes import LOADING, MOST_LISTED, READING, Outcomes, failed_so_far
from tasks.scopes_report import LONGEST_LINE, ScopesReport
from tasks.streams import MEMBERS, Scope


def scopes(count: int) -> tuple[Scope, ...]:
    return tuple(Scope(MEMBERS, f"00000000-0000-4000-8000-{n:012d}", f"Ward {n}") for n in range(count))


def run(errors: list[PipelineError | None], *, expanded: bool = False) -> Outcomes:
    outcomes = Outcomes(scopes(len(errors)), "department-sync", expanded=expanded)
    for outcome, error in zip(outcomes.remaining(READING), errors, strict=False):
        with outcomes.attempt(outcome):
            if error:
                raise error
    return outcomes


@pytest.fixture(autouse=True)
def unshown(monkeypatch: pytest.MonkeyPatch) -> list[ScopesReport]:
    shown: list[ScopesReport] = []
    monkeypatch.setattr("tasks.outcomes.show", lambda key, report: shown.append(report))
    return shown


def test_the_alert_of_thousands_fits_into_what_sns_takes() -> None:
    outcomes = run([ObjectInvalid("x" * 5000).about_one_scope() for _ in range(MOST_LISTED + 70)])
    with pytest.raises(ScopesFailed) as failed:
        outcomes.finish()
    assert failed.value.problems[-1] == "and 70 more; see the run's report"
    assert max(map(len, failed.value.problems)) <= LONGEST_LINE
    assert len(str(failed.value)) < 250_000
    assert "--department-id" not in failed.value.message


def test_an_unavailable_lms_counts_only_in_a_row() -> None:
    down = LmsUnavailable("down")
    assert [each.error for each in run([down, None, down]).found.values()] == [down, None, down]
    stopped = run([None, down, LmsUnavailable("still down"), None])
    done, *_ = stopped.found.values()
    done.extracted = {"outcome": "published"}
    assert [each.scope.label for each in stopped.remaining(LOADING)] == ["Ward 0"]
    with pytest.raises(LmsUnavailable, match="still down") as error:
        stopped.finish()
    assert error.value.problems[0] == "of 4 departments, 1 were published and 0 loaded before that"
    assert error.value.problems[2].startswith("department Ward 1")


def test_an_empty_department_between_two_shows_that_the_lms_answers() -> None:
    empty = SnapshotShrank("none")
    empty.no_baseline = True
    outcomes = run([LmsUnavailable("down"), empty, LmsUnavailable("down"), None], expanded=True)
    assert [bool(each.error) for each in outcomes.found.values()] == [True, False, True, False]


def test_an_lms_that_gave_no_names_either_is_unavailable_at_the_first_department() -> None:
    outcomes = Outcomes(scopes(3), "department-sync", was_unavailable=True)
    tried = 0
    for outcome in outcomes.remaining(READING):
        tried += 1
        with outcomes.attempt(outcome):
            raise LmsUnavailable("down")
    assert tried == 1
    with pytest.raises(LmsUnavailable):
        outcomes.finish()


def test_what_cannot_be_read_is_a_failure_of_its_own() -> None:
    [*known, odd] = scopes(3)
    outcomes = Outcomes(tuple(known), "department-sync", unreadable=((odd, ConfigError("no such")),), expanded=True)
    assert [each.scope.label for each in outcomes.remaining(READING)] == ["Ward 0", "Ward 1"]
    with pytest.raises(ScopesFailed, match=r"(?s)1 of 3 departments.*Ward 2.*no such"):
        outcomes.finish()


def test_a_run_that_ends_by_another_error_leaves_the_failures_for_its_alert(unshown: list[ScopesReport]) -> None:
    with pytest.raises(OSError, match="disk"):
        run([SnapshotShrank("few"), OSError("disk")])  # type: ignore[list-item]
    assert [line[:17] for line in failed_so_far[None]] == ["department Ward 0"]
    assert unshown[-1].failed == 1


def test_what_is_of_all_stops_the_run_with_what_had_failed_before() -> None:
    with pytest.raises(AuthError) as stopped:
        run([SnapshotShrank("few"), AuthError("the database"), None])
    assert stopped.value.problems[2].startswith(
        "department Ward 0 (00000000-0000-4000-8000-000000000000): SnapshotShrank"
    )


def test_an_empty_department_without_a_past_is_no_failure_when_it_was_found_below_another() -> None:
    empty = SnapshotShrank("none")
    empty.no_baseline = True
    outcomes = run([empty, None], expanded=True)
    outcomes.finish()
    assert [each.empty for each in outcomes.found.values()] == [True, False]
    with pytest.raises(SnapshotShrank):
        run([empty])


def test_the_worst_comes_first(unshown: list[ScopesReport]) -> None:
    outcomes = run([None, None, SnapshotShrank("few")])
    quiet, rejecting, _ = outcomes.found.values()
    quiet.loaded, rejecting.loaded = {"rejected": 0, "outcome": "loaded"}, {"rejected": 3, "outcome": "loaded"}
    with pytest.raises(ScopesFailed):
        outcomes.finish()
    assert [line[0] for line in unshown[0].lines] == ["`Ward 2`", "`Ward 1`", "`Ward 0`"]
    assert (unshown[0].scopes, unshown[0].failed, unshown[0].rejected) == (3, 1, 3)
