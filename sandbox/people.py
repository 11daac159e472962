"""Fictional members in every shape that the LMS is known to send."""

import random
import uuid
from typing import Any

from msgspec import Raw

DEPARTMENT = "5b0c9f5e-3d0a-4f0b-9a53-0a4f6a0c7d11"
FIRST = [
    "Ánh Dương",
    "Łukasz",
    "美咲",
    "Zoë",
    "Omar",
    "Noa",
    "Siobhán",
    "محمد",
    "José",
    "Ingrid",
    "Anna-Lena",
    "D'Arcy",
]
LAST = ["Nguyễn", "Ødegård-O'Hara", "佐藤", "Müller", "García", "Kowalska", "Smith", "العلي", "Brown", "Ng"]
CITIES = ["Hà Nội", "København", "Zürich", "Calgary", "東京", None]
JOBS = ["Analyst", "Nurse, ward 3", 'Head of "Learning"', "Engineer", None]
# Texts that loaders and spreadsheets are known to read as something else.
NOTES = [None, None, None, 'Line one\nsays "hi", twice', "", " ", "=1+1", "NULL", "ends with a backslash \\"]
# .NET writes up to seven digits of a second.
FRACTIONS = ["", ".5", ".12", ".123", ".1234", ".12345", ".123456", ".1234567"]


def department(name: str, parent: str | None = None, department_id: str = DEPARTMENT) -> dict[str, Any]:
    """A department as the LMS lists it."""
    return {"id": department_id, "name": name, "parentId": parent, "externalId": None, "companyName": None}


def person(seed: int, department: str = DEPARTMENT) -> dict[str, Any]:
    """The member with that number: always the same one."""
    rng = random.Random(seed)
    first, last = rng.choice(FIRST), rng.choice(LAST)
    # GUIDs come in either case
    upper = seed % 7 == 0
    member_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    return {
        "id": member_id.upper() if upper else member_id,
        "departmentId": department.upper() if upper else department,
        "firstName": first,
        "middleName": rng.choice([None, "Q.", "van der"]),
        "lastName": last,
        "username": f"member.{seed:07d}",
        "emailAddress": rng.choice([f"member.{seed}@example.org", None]),
        # a text that looks like a number, and would lose its zeros as one
        "externalId": rng.choice([f"{seed:06d}", "1E10", None]),
        "ccEmailAddresses": rng.choice([["lead@example.org"], [], None]),
        "languageId": rng.choice([1, 2, 3]),
        "gender": rng.choice([0, 1, 2, None]),
        "address": rng.choice([f"{seed} Main Street", None]),
        "address2": rng.choice([None, "c/o the porter"]),
        "city": rng.choice(CITIES),
        "provinceId": None,
        "countryId": rng.choice(["7C7A2F0E-0D5C-4A53-8A0C-1D7C5F0E9B22", None]),
        "postalCode": f"{seed % 100000:05d}",
        "phone": f"+84 24 5550 {seed % 10000:04d}",
        "employeeNumber": f"{seed:05d}",
        "location": rng.choice([None, "Building 7"]),
        "jobTitle": rng.choice(JOBS),
        "referenceNumber": rng.choice([None, f"{seed}.00"]),
        "dateHired": f"{rng.randint(1990, 2024)}-03-01T00:00:00",
        "dateTerminated": rng.choice([None, None, "2024-06-30T00:00:00Z"]),
        "dateEdited": "2025-02-11T09:14:07" + rng.choice(FRACTIONS) + "Z",
        "dateAdded": "2021-03-02T08:00:00Z",
        "lastLoginDate": rng.choice(
            [None, "2025-02-10T22:41:38" + rng.choice(FRACTIONS) + rng.choice(["Z", "+02:00"])]
        ),
        "notes": rng.choice(NOTES),
        "customFields": custom_fields(rng),
        "roleIds": rng.choice([["b1d9b0de-6f0e-4f7e-8b57-2a8d1f1c3e10"], []]),
        "activeStatus": int(rng.random() < 0.1),
        "isLearner": True,
        "isAdmin": rng.random() < 0.1,
        "isInstructor": False,
        "isManager": rng.choice([True, False]),
        "supervisorId": rng.choice([None, "3C1D2E4F-5A6B-4C7D-8E9F-0A1B2C3D4E5F"]),
        "hasUsername": True,
    }


def custom_fields(rng: random.Random) -> dict[str, Any] | None:
    """The 45 slots, about a third of them filled, numbers in their own digits; sometimes sparse, sometimes null."""
    if (kind := rng.random()) < 0.02:
        return None
    fields: dict[str, Any] = {f"decimal{n}": None for n in range(1, 6)}
    fields |= {f"string{n}": rng.choice([None, None, "Zürich", "", f"value {n}"]) for n in range(1, 31)}
    fields |= {f"datetime{n}": None for n in range(1, 6)} | {f"bool{n}": rng.choice([None, True]) for n in range(1, 6)}
    # Raw keeps the digits, of which a float would lose the zeros
    fields |= {"decimal1": Raw(b"8675309.00"), "decimal2": Raw(b"0.1"), "bool2": False}
    fields["datetime1"] = "2024-12-31T00:00:00"
    return {name: value for name, value in fields.items() if value is not None} if kind < 0.3 else fields
