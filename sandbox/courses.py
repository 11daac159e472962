"""Fictional course enrollments in every shape that the LMS is known to send, and the courses that hold them."""

import json
import random
import uuid
from typing import Any

COURSE = "c0a8b6d2-3f5e-4b7a-9d21-6e4f0b8c1a55"
NAME = 'Fire safety, "ward" edition'
TICKS_A_SECOND = 10_000_000  # .NET's ticks of 100 ns
COMPLETE = 3


class Courses:
    """Enrollments by course, each as it is sent.

    Attributes:
        enrollments: course (lower case) to the enrollment's id (lower case) to the enrollment.
    """

    def __init__(self) -> None:
        self.enrollments: dict[str, dict[str, dict[str, Any]]] = {COURSE: {}}
        self._seed = 0

    def enrol(self, user_id: str, course: str = COURSE, **fields: Any) -> str:
        """Enrol a member; the enrollment's id in lower case."""
        self._seed += 1
        made = {**enrollment(self._seed, user_id, course), **fields}
        key = str(made["id"]).lower()
        self.enrollments.setdefault(course.lower(), {})[key] = made
        return key

    def enrol_again(self, key: str, course: str = COURSE, **fields: Any) -> str:
        """A new enrollment of the same member; the previous one moves to history in its last state."""
        former = self.enrollments[course.lower()][key]
        former["isActive"] = False
        fresh = {"status": 0, "progress": 0, "score": None, "dateCompleted": None, "isActive": True}
        return self.enrol(former["userId"], course, **{**fresh, **fields})

    def edit(self, key: str, course: str = COURSE, **fields: Any) -> None:
        """Change some fields, and `dateEdited` with them."""
        self.enrollments[course.lower()][key] |= {"dateEdited": "2026-06-01T08:00:00Z", **fields}

    def remove(self, key: str, course: str = COURSE) -> dict[str, Any]:
        """The enrollment is removed completely, from history too."""
        return self.enrollments[course.lower()].pop(key)

    def page(self, course: str, limit: int, index: int, stated_limit: int) -> bytes | None:
        """One page as JSON; None for a course that is not there."""
        found = self.enrollments.get(course.lower())
        if found is None:
            return None
        part = list(found.values())[index * limit : (index + 1) * limit]
        counts = {"totalItems": len(found), "returnedItems": len(part), "limit": stated_limit, "offset": index}
        return json.dumps({**counts, "enrollments": part}).encode()


def enrollment(seed: int, user_id: str, course: str = COURSE) -> dict[str, Any]:
    """The enrollment with that number: always the same one. Some name no course, as rows of a course may not."""
    rng = random.Random(seed)
    made_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    status = rng.choice([0, 1, 1, COMPLETE, COMPLETE, 5])
    seconds = rng.choice([0, 59, 3723, 133_359, 90_061])
    found = {
        "id": made_id.upper() if seed % 5 == 0 else made_id,
        "courseId": course.upper() if seed % 4 == 0 else course,
        "courseName": NAME,
        "courseVersionId": rng.choice([None, "1D0F2C3B-4A5E-4F60-8172-93A4B5C6D7E8"]),
        "userId": user_id,
        "fullName": "Somebody's Name",
        "status": status,
        "progress": 100 if status == COMPLETE else rng.choice([0, 12.5, 33.333333, None]),
        "score": rng.choice([None, 0, 87.5, 99.99, 100]),
        "dateAdded": "2026-01-05T09:00:00.1234567Z",
        "dateEdited": f"2026-02-{rng.randint(1, 28):02d}T10:00:00Z",
        "dateStarted": None if status == 0 else "2026-01-06T00:00:00",
        "dateCompleted": f"2026-0{rng.randint(1, 5)}-15T12:30:00Z" if status == COMPLETE else None,
        "dateDue": rng.choice([None, "2026-03-31T23:59:59Z"]),
        "dateExpires": None,
        "accessDate": None,
        "timeSpent": time_spent(seconds, seed),
        "timeSpentTicks": seconds * TICKS_A_SECOND,
        "isActive": True,
        "certificateId": None,
        "credits": rng.choice([None, 1.50]),
        "enrollmentKeyId": None,
        "courseCollectionId": None,
        "avatar": None,
        "jobTitle": "Nurse",
        "acceptedTermsAndConditions": rng.choice([True, False, None]),
    }
    # the list of a course may leave out the course
    if seed % 3 == 0:
        del found["courseId"]
    return found


def time_spent(seconds: int, seed: int) -> str:
    """
    >>> time_spent(133_359, 1), time_spent(133_359, 2)
    ('37:02:39', '1.13:02:39.5000000')
    """
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    # both forms were seen: hours beyond 24, and days before a point
    if seed % 2:
        return f"{hours}:{minute:02d}:{second:02d}"
    return f"{hours // 24}.{hours % 24:02d}:{minute:02d}:{second:02d}.5000000"
