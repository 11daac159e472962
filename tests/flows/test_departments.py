"""Many departments in one run: each proved, published and loaded by itself; one that fails stops no other."""

from collections import Counter

import httpx
import pytest

from flows.department_sync import department_sync
from flows.lms_to_s3 import lms_to_s3
from sandbox import faults
from sandbox.people import DEPARTMENT, person
from sandbox.stack import Sandbox
from tasks.errors import AuthError, ConfigError, LmsUnavailable, ScopesFailed, SnapshotShrank
from tasks.options import OnDeparture
from tasks.streams import Scope
from tests.support.whole_stack import artifacts

PATH = "members/{department_id}.csv"
SIZES = {"Sales": 12, "Nursing": 7, "Theatre | 3": 5, "IT": 30}


@pytest.fixture
def many(in_process: Sandbox, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The ids of four departments below the sandbox's own, with members, by their names."""
    monkeypatch.setenv("S3_DEPARTMENT_MEMBERS_PATH", PATH)
    lms = in_process.lms
    ids = {name: lms.add_department(name, DEPARTMENT) for name in SIZES}
    for name, size in SIZES.items():
        lms.add_people(size, ids[name])
    monkeypatch.setenv("DEPARTMENT_ID", " , ".join(ids.values()))
    return ids


def stored(box: Sandbox) -> Counter[str]:
    return Counter({key: count for key, count in box.query(
        "SELECT department_id::text, count(*) FROM department_members WHERE departed_at IS NULL GROUP BY 1"
    )})  # fmt: skip


def sizes(ids: dict[str, str]) -> Counter[str]:
    return Counter({ids[name]: size for name, size in SIZES.items()})


def test_one_run_one_sign_in_a_snapshot_and_a_load_for_each(in_process: Sandbox, many: dict[str, str]) -> None:
    sign_ins = in_process.lms.sign_ins
    report = department_sync(create_table=True)
    assert in_process.lms.sign_ins == sign_ins + 1
    assert {key: each["inserted"] for key, each in report["s3_to_rds"].items()} == sizes(many)
    assert stored(in_process) == sizes(many)
    assert set(in_process.aws.objects()) == {PATH.format(department_id=each) for each in many.values()}
    assert in_process.query("SELECT count(*) FROM lms_loads") == [(4,)]
    [page] = [artifact.data for artifact in artifacts("department-sync")[:1]]
    assert "# 4 done" in page and "| `Theatre ¦ 3` | 5 |" in page
    again = department_sync()
    assert {each["unchanged"] for each in again["s3_to_rds"].values()} == set(SIZES.values())
    assert in_process.aws.alerts() == []


def test_a_department_that_fails_stops_no_other_and_one_alert_names_it(
    in_process: Sandbox, many: dict[str, str]
) -> None:
    in_process.lms.denied.add(many["Nursing"])
    gone = "11111111-2222-4333-8444-555555555555"
    with pytest.raises(ScopesFailed) as failed:
        department_sync(department_id=",".join([*many.values(), gone]), create_table=True)
    assert [problem.partition(":")[0] for problem in failed.value.problems] == [
        f"department Nursing ({many['Nursing']})",
        f"department {gone}",
    ]
    assert stored(in_process) == sizes(many) - Counter({many["Nursing"]: 7})
    [alert] = in_process.aws.alerts()
    assert alert["Subject"] == "department-members: department-sync failed (ScopesFailed)"
    lines = alert["Message"].splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith("  - ")] == [
        f"  - department Nursing ({many['Nursing']})",
        f"  - department {gone}",
    ]
    assert "AuthError in fetch_pages" in alert["Message"] and "SnapshotShrank in write_csv" in alert["Message"]
    assert f"--department-id {many['Nursing']},{gone}" in alert["Message"]
    [page] = [artifact.data for artifact in artifacts("department-sync")[:1]]
    assert page.index("Nursing") < page.index("Sales"), "worst first"


def test_only_those_who_failed_to_load_are_named(in_process: Sandbox, many: dict[str, str]) -> None:
    department_sync(create_table=True)
    for member_id in [
        key for key, each in in_process.lms.members.items() if each["departmentId"].lower() == many["IT"]
    ][:14]:
        in_process.lms.remove(member_id)
    in_process.lms.add_people(1, many["Sales"])
    with pytest.raises(ScopesFailed, match=r"1 of 4 departments failed") as failed:
        department_sync(on_departure="delete")
    assert "TooManyDepartures in upsert_snapshot" in failed.value.problems[0]
    assert stored(in_process)[many["Sales"]] == 13 and stored(in_process)[many["IT"]] == 30


@pytest.mark.parametrize("reads_below", [False, True])
def test_expansion_reads_each_department_below_once_whichever_way_the_filter_is_read(
    in_process: Sandbox, many: dict[str, str], reads_below: bool
) -> None:
    lms = in_process.lms
    lms.reads_below = reads_below
    deep = lms.add_department("Ward 3", many["Nursing"].upper())
    lms.add_people(3, deep)
    lms.add_people(2, DEPARTMENT)
    empty = lms.add_department("Nobody yet", deep)
    lms.add_department("Elsewhere")
    report = department_sync(department_id=f"{DEPARTMENT},{deep}", expand_subdepartments=True, create_table=True)
    assert stored(in_process) == sizes(many) + Counter({deep: 3, DEPARTMENT: 2})
    assert set(report["lms_to_s3"]) == {DEPARTMENT, *many.values(), deep, empty}
    assert report["lms_to_s3"][empty] == {}
    assert PATH.format(department_id=empty) not in in_process.aws.objects()
    assert in_process.aws.alerts() == []


def test_a_department_that_is_gone_is_named_with_its_members(in_process: Sandbox, many: dict[str, str]) -> None:
    department_sync(create_table=True)
    lms = in_process.lms
    for member_id in [key for key, each in lms.members.items() if each["departmentId"].lower() == many["Sales"]]:
        lms.remove(member_id)
    del lms.departments[many["Sales"]]
    report = department_sync(department_id=DEPARTMENT, expand_subdepartments=True, on_departure="delete")
    assert many["Sales"] not in report["lms_to_s3"] and stored(in_process)[many["Sales"]] == 12
    [page] = [artifact.data for artifact in artifacts("department-sync")[:1]]
    assert f"In the table but no longer listed by the LMS: {many['Sales']} (12 members)" in page
    done = department_sync(department_id=many["Sales"], allow_shrink=True, on_departure="mark", max_departures="100%")[
        "s3_to_rds"
    ]
    assert done["departed"] == 12


def test_a_tree_with_a_cycle_an_orphan_and_a_department_without_a_name(
    in_process: Sandbox, many: dict[str, str]
) -> None:
    departments = in_process.lms.departments
    departments[DEPARTMENT]["parentId"] = many["IT"]  # a cycle
    departments[many["Sales"]]["parentId"] = "99999999-2222-4333-8444-555555555555"  # of a parent that is out of sight
    departments[many["Nursing"]]["name"] = None
    report = department_sync(department_id=DEPARTMENT, expand_subdepartments=True, create_table=True, dry_run=True)
    assert set(report["lms_to_s3"]) == {DEPARTMENT, *many.values()} - {many["Sales"]}


def test_expansion_needs_the_tree(in_process: Sandbox, many: dict[str, str]) -> None:
    in_process.lms.inject(faults.status(403, path="/departments", times=None))
    with pytest.raises(AuthError, match="/departments answered 403"):
        lms_to_s3(department_id=DEPARTMENT, expand_subdepartments=True)
    assert len(lms_to_s3(dry_run=True)) == 4, "without it, the run can do without the names"


@pytest.mark.parametrize(
    ("on_departure", "source", "target"),
    [("delete", "Sales", "IT"), ("delete", "IT", "Sales"), ("mark", "Sales", "IT")],
)
def test_who_moves_to_another_department_of_the_run_is_no_leaver(
    in_process: Sandbox, many: dict[str, str], on_departure: OnDeparture, source: str, target: str
) -> None:
    department_sync(create_table=True)
    box = in_process
    mover = next(key for key, each in box.lms.members.items() if each["departmentId"].lower() == many[source])
    box.query("UPDATE department_members SET first_name = 'x' WHERE lms_user_id = %s", (mover,))
    before = box.query("SELECT ctid FROM department_members WHERE lms_user_id = %s", (mover,))
    box.lms.edit(mover, departmentId=many[target])
    report = department_sync(on_departure=on_departure)["s3_to_rds"]
    assert sum(each["departed"] for each in report.values()) == 0
    assert report[many[target]]["updated"] == 1 and before
    assert stored(box) == sizes(many) - Counter({many[source]: 1}) + Counter({many[target]: 1})


def test_an_older_snapshot_of_the_former_department_does_not_take_a_member_back(
    in_process: Sandbox, many: dict[str, str]
) -> None:
    from flows.s3_to_rds import s3_to_rds

    department_sync(create_table=True)
    mover = next(key for key, each in in_process.lms.members.items() if each["departmentId"].lower() == many["Sales"])
    in_process.lms.edit(mover, dateEdited="2026-01-01T00:00:00Z")
    lms_to_s3(department_id=many["Sales"])
    in_process.lms.edit(mover, departmentId=many["IT"], dateEdited="2026-02-01T00:00:00Z")
    department_sync(department_id=many["IT"])
    loaded = s3_to_rds(key=PATH.format(department_id=many["Sales"]))
    assert (loaded["updated"], loaded["unchanged"], loaded["read"]) == (0, 12, 12)
    assert stored(in_process)[many["IT"]] == 31


def test_a_cause_that_all_share_stops_the_run_at_once(in_process: Sandbox, many: dict[str, str]) -> None:
    in_process.lms.denied.add(many["Sales"])
    with pytest.raises(ConfigError, match="no bucket") as stopped:
        department_sync(bucket="nowhere", create_table=True)
    assert [problem.partition(" (")[0] for problem in stopped.value.problems if problem.startswith("department ")] == [
        "department Sales"
    ]
    assert len([1 for _, path, _, _ in in_process.lms.requests if path == "/users"]) == 2
    assert len(in_process.aws.alerts()) == 1


@pytest.mark.parametrize(("times", "error", "asked"), [(16, LmsUnavailable, 2), (8, ScopesFailed, 4)])
def test_an_lms_that_is_unavailable_twice_in_a_row_is_unavailable(
    in_process: Sandbox, many: dict[str, str], times: int, error: type[Exception], asked: int
) -> None:
    in_process.lms.inject(faults.status(503, path="/users", times=times))
    with pytest.raises(error):
        lms_to_s3()
    assert len(in_process.aws.objects()) == (2 + 1 if asked == 4 else 0)
    assert len(in_process.aws.alerts()) == 1


def test_several_need_a_path_for_each(
    in_process: Sandbox, many: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_DEPARTMENT_MEMBERS_PATH", "members.csv")
    with pytest.raises(ConfigError, match="settings") as failed:
        lms_to_s3()
    assert "must contain {department_id}" in failed.value.problems[0]
    with pytest.raises(ConfigError):
        lms_to_s3(department_id=DEPARTMENT, expand_subdepartments=True)
    with pytest.raises(ConfigError) as malformed:
        lms_to_s3(path=PATH, department_id=f"{DEPARTMENT},x")
    assert "several, separated by commas" in malformed.value.problems[0]
    assert in_process.lms.requests == []


def test_a_run_and_its_messages_have_the_departments_name(in_process: Sandbox) -> None:
    with pytest.raises(SnapshotShrank, match=rf"department Sandbox \({DEPARTMENT}\)"):
        department_sync()
    in_process.lms.add_people(3)
    department_sync(create_table=True)
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort, TaskRunSort

    with get_client(sync_client=True) as client:
        [run] = client.read_flow_runs(limit=1, sort=FlowRunSort.START_TIME_DESC)
        tasks = {each.name for each in client.read_task_runs(limit=50, sort=TaskRunSort.EXPECTED_START_TIME_DESC)}
    assert run.name.startswith("department-sync Sandbox 2")
    assert {"fetch-pages Sandbox", "write-csv Sandbox", "upsert-snapshot Sandbox"} <= tasks


def members_of(box: Sandbox, department_id: str) -> list[str]:
    return [key for key, each in box.lms.members.items() if each["departmentId"].lower() == department_id]


def test_who_moved_to_a_department_that_was_read_and_not_published_has_not_left(
    in_process: Sandbox, many: dict[str, str]
) -> None:
    department_sync(create_table=True)
    mover = members_of(in_process, many["Sales"])[0]
    for gone in members_of(in_process, many["IT"])[:20]:
        in_process.lms.remove(gone)
    in_process.lms.edit(mover, departmentId=many["IT"])
    with pytest.raises(ScopesFailed, match="SnapshotShrank"):
        department_sync(on_departure="delete")
    assert in_process.query(f"SELECT count(*) FROM department_members WHERE lms_user_id = '{mover}'") == [(1,)]


def test_an_lms_that_goes_away_leaves_what_was_read_before_loaded(in_process: Sandbox, many: dict[str, str]) -> None:
    sales, nursing, *away = many.values()
    real = in_process.lms._users
    unavailable = faults.Answer(503, b"{}")
    in_process.lms._users = lambda query: (  # type: ignore[method-assign]
        unavailable if any(each in query.get("_filter", "") for each in away) else real(query)
    )
    with pytest.raises(LmsUnavailable, match="of 4 departments, 2 were published and 2 loaded") as stopped:
        department_sync(create_table=True)
    assert "Nothing was published" not in str(stopped.value)
    assert stored(in_process) == Counter({sales: 12, nursing: 7})
    [alert] = in_process.aws.alerts()
    assert alert["Subject"].endswith("(LmsUnavailable)")
    [page] = [artifact.data for artifact in artifacts("department-sync")[:1]]
    assert "`Sales` | 12 |" in page and "`not read`" in page


def test_the_alert_of_an_unexpected_error_names_who_had_failed_before(
    in_process: Sandbox, many: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_process.lms.denied.add(many["Sales"])

    def broken(each: object, scope: Scope, *_: object) -> None:
        raise ZeroDivisionError(scope.id)

    monkeypatch.setattr("flows.department_sync.read_published", broken)
    with pytest.raises(ZeroDivisionError):
        department_sync(create_table=True)
    [alert] = in_process.aws.alerts()
    assert "An unexpected ZeroDivisionError" in alert["Message"]
    assert f"  - department Sales ({many['Sales']}): AuthError" in alert["Message"]


def test_what_prefect_does_not_take_hides_no_failure(
    in_process: Sandbox, many: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise httpx.ConnectError("away")

    monkeypatch.setattr("tasks.report.create_markdown_artifact", away)
    assert len(department_sync(create_table=True)["s3_to_rds"]) == 4
    in_process.lms.denied.add(many["Sales"])
    with pytest.raises(ScopesFailed, match=many["Sales"]):
        department_sync()


def test_a_members_keys_that_collide_stop_no_other_department(in_process: Sandbox, many: dict[str, str]) -> None:
    in_process.lms.add({**person(77, many["Nursing"]), "foo": {"bar": 1}, "foo.bar": 2})
    with pytest.raises(ScopesFailed, match=r"Nursing .* both become the column"):
        department_sync(create_table=True)
    assert stored(in_process) == sizes(many) - Counter({many["Nursing"]: 7})


def test_an_empty_department_stays_only_reported_though_it_was_published_empty_once(
    in_process: Sandbox, many: dict[str, str]
) -> None:
    in_process.lms.add_department("Empty", DEPARTMENT)
    department_sync(department_id=DEPARTMENT, expand_subdepartments=True, create_table=True, allow_shrink=True)
    department_sync(department_id=DEPARTMENT, expand_subdepartments=True)
    assert in_process.aws.alerts() == []


@pytest.mark.parametrize("path", ["m/all.csv", "m/{department_id:.0}all.csv", "m/{department_id:.4}.csv"])
def test_a_path_that_may_be_the_same_for_two_is_refused(in_process: Sandbox, many: dict[str, str], path: str) -> None:
    with pytest.raises(ConfigError, match="must contain {department_id}"):
        department_sync(path=path)


def test_a_department_below_another_root_now_is_named(in_process: Sandbox, many: dict[str, str]) -> None:
    department_sync(department_id=DEPARTMENT, expand_subdepartments=True, create_table=True)
    in_process.lms.departments[many["Sales"]]["parentId"] = in_process.lms.add_department("Another root")
    in_process.lms.add({**person(78, many["IT"]), "brandNew": "x"})
    department_sync(department_id=DEPARTMENT, expand_subdepartments=True, schema_contract="evolve")
    [page] = [artifact.data for artifact in artifacts("department-sync")[:1]]
    assert f"not read by this run: {many['Sales']} (12 members)" in page


def test_progress_over_departments_is_shown_in_prefect(
    in_process: Sandbox, many: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.progress.EVERY_S", 0.0)
    lms_to_s3()
    assert [each.description for each in artifacts("scopes-progress")][:1] == ["reading"]
