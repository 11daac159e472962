"""Many scopes of one run: whose failure stops the run, what the alert lists, which comes first."""

import pytest

from tasks.errors import AuthError, LmsUnavailable, ObjectInvalid, PipelineError, ScopesFailed, SnapshotShrank
from tasks.outcomes import LONGEST_LINE, MOST_LISTED, Outcomes, ScopesReport
from tasks.streams import MEMBERS, Scope


def scopes(count: int) -> tuple[Scope, ...]:
    return tuple(Scope(MEMBERS, f"00000000-0000-4000-8000-{n:012d}", f"Ward {n}") for n in range(count))


def run(errors: list[PipelineError | None], *, expanded: bool = False) -> Outcomes:
    outcomes = Outcomes(scopes(len(errors)), expanded=expanded)
    for outcome, error in zip(outcomes.in_turn("trying"), errors, strict=True):
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
        outcomes.finish("department-sync")
    assert failed.value.problems[-1] == "and 70 more; see the run's report"
    assert max(map(len, failed.value.problems)) <= LONGEST_LINE
    assert len(str(failed.value)) < 250_000
    assert "--department-id" not in failed.value.message


def test_an_unavailable_lms_counts_only_in_a_row() -> None:
    down = LmsUnavailable("down")
    assert [each.error for each in run([down, None, down]).found.values()] == [down, None, down]
    with pytest.raises(LmsUnavailable, match="failed earlier, each for its own reason"):
        run([down, LmsUnavailable("still down"), None])


def test_what_is_of_all_stops_the_run_with_what_had_failed_before() -> None:
    with pytest.raises(AuthError) as stopped:
        run([SnapshotShrank("few"), AuthError("the database"), None])
    assert stopped.value.problems[1].startswith(
        "department Ward 0 (00000000-0000-4000-8000-000000000000): SnapshotShrank"
    )


def test_an_empty_department_without_a_past_is_no_failure_when_it_was_found_below_another() -> None:
    empty = SnapshotShrank("none")
    empty.no_baseline = True
    outcomes = run([empty, None], expanded=True)
    outcomes.finish("lms-to-s3")
    assert [each.empty for each in outcomes.found.values()] == [True, False]
    with pytest.raises(SnapshotShrank):
        run([empty])


def test_the_worst_comes_first(unshown: list[ScopesReport]) -> None:
    outcomes = run([None, None, SnapshotShrank("few")])
    quiet, rejecting, _ = outcomes.found.values()
    quiet.loaded, rejecting.loaded = {"rejected": 0, "outcome": "loaded"}, {"rejected": 3, "outcome": "loaded"}
    with pytest.raises(ScopesFailed):
        outcomes.finish("department-sync")
    assert [line[0] for line in unshown[0].lines] == ["`Ward 2`", "`Ward 1`", "`Ward 0`"]
    assert (unshown[0].scopes, unshown[0].failed, unshown[0].rejected) == (3, 1, 3)
