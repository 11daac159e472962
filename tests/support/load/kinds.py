"""The column types of the random tables, each with few values, so that they collide."""

from tests.support.load import values as v
from tests.support.load.values import Kind

NAMES = ("ann", "bob", "Ann", "BOB", "cy", "", 'x"y', "a\nb", "NULL", "s3cret")
STAMPS = (
    "2024-12-31T23:59:59.7Z", "2024-12-31T23:59:59.1234567Z", "2025-01-01T00:00:00", "2025-01-01T01:00:00+01:00",
    "2025-01-01 00:00:00.0000004Z", "2024-02-29T12:00:00.9999999-03:30", "1969-12-31T23:59:59.9999999Z",
)  # fmt: skip
NO_STAMPS = ("2024-02-30T00:00:00Z", "now", "2025-01-01T00:00:00.12345678Z", "01/02/2025", "", "s3cret")
GUID = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1"
EDITED = (
    "2024-12-30T10:00:00Z", "2024-12-31T23:59:59.7Z", "2025-01-01T00:00:00.2Z", "2025-01-02T10:00:00+02:00",
    "2025-01-03T00:00:00.9999999Z",
)  # fmt: skip

KINDS = {
    "text": Kind("text", v.text, NAMES, (), is_text=True),
    "varchar": Kind("varchar(3)", v.at_most(3), ("ann", "bob", "Ann", "cy", "", "é"), ("anna", "ann ", "s3cret"), is_text=True),
    "char": Kind("char(3)", v.blank_padded, ("ann", "bob", "Ann"), ("anna", "ab", "a  "), is_text=True),
    "ci": Kind("public.ci", v.text, ("ann", "Ann", "ANN", "bob", "BOB", "cy"), (), is_text=True),
    "integer": Kind("integer", v.integer, ("1", "2", "007", "7", "+7", "-1"), ("2147483648", "1.0", "", "s3cret", "1_0")),
    "numeric": Kind("numeric", v.numeric, ("1", "1.0", "1.00", "2", "1e2", "100"), ("1,5", "NaN", "", "s3cret")),
    "numeric52": Kind("numeric(5,2)", v.numeric_5_2, ("1", "1.0", "1.50", "1.500", "999.99"), ("1.005", "1000", "", "x")),
    "double": Kind("double precision", v.double, ("0.1", "1.50", "1.5", "2"), ("0.12345678901234567891", "NaN", "1e400", "")),
    "real": Kind("real", v.real, ("0.5", "0.1", "2", "2.0"), ("0.123456789", "16777217", "1e40", "")),
    "boolean": Kind("boolean", v.boolean, ("true", "false", "True", "f", "1"), ("maybe", "", "tru", "2")),
    "date": Kind("date", v.day, ("2024-02-29", "2025-01-01T23:59:59.9999999-11:00", "2025-01-01"), ("2025-02-29", "today", "")),
    "stamp": Kind("timestamp", v.moment(6), STAMPS, NO_STAMPS),
    "stamp0": Kind("timestamp(0)", v.moment(0), STAMPS, NO_STAMPS),
    "stamptz": Kind("timestamptz", v.moment(6), STAMPS, NO_STAMPS),
    "stamptz3": Kind("timestamptz(3)", v.moment(3), STAMPS, NO_STAMPS),
    "time": Kind("time", v.clock, ("10:00", "10:00:00", "10:00:00.1234567", "23:59:59.9999999"), ("10:00+05:00", "10:00Z", "now", "")),
    "uuid": Kind(
        "uuid", v.guid, (GUID + "1", GUID.upper() + "1", GUID + "2", GUID + "3"),
        ("{" + GUID + "1}", (GUID + "2").replace("-", ""), "s3cret", "", 'x" s3cret'),
    ),
    "jsonb": Kind("jsonb", v.jsonb, ('{"a": 1, "b": 2}', '{"b":2,"a":1}', "[]", '"x"', "null", "1.50"), ('{"a": "\\u0000"}', "{a}", "", "NaN"), unique=False, is_json=True),
    "json": Kind("json", v.json_text, ('{"a": 1, "b": 2}', '{"b":2,"a":1}', '{"a": "\\u0000"}', "[]", "null"), ("{a}", "", "s3cret"), unique=False, is_json=True),
    "texts": Kind("text[]", v.array(v.text), ('["a","b"]', '["b"]', "[]", '[null,"null"]', "{a,b}", '["x\\"y"]'), ('[["a","b"],["c","d"]]', "[oops]", "", "a", "[1,2]", '{"a":1}')),
    "varchars": Kind("varchar(3)[]", v.array(v.at_most(3)), ('["abc"]', '["a","b"]', "[]"), ('["abcdef"]', '["a",["bcde"]]', "s3cret")),
    "stamps": Kind("timestamp[]", v.array(v.stamp_element), ('["2025-01-01T00:00:00"]', "[]"), ('["2025-01-01T10:00:00+02:00"]', '["now"]', '["2025-01-01T00:00:00.9999999"]')),
    "mood": Kind("{s}.mood", v.one_of("happy", "sad", ""), ("happy", "sad", ""), ("Happy", "s3cret")),
    "small": Kind("{s}.small", v.below_100, ("1", "2", "99", "01"), ("100", "", "s3cret")),
    "short": Kind("{s}.short", v.at_most(3), ("ann", "bob", ""), ("anna", "s3cret")),
    "lower": Kind("{s}.lower_text", v.lower_only, ("ann", "bob", "cy"), ("Ann", "S3cret")),
    "second": Kind("{s}.second", v.moment(0), STAMPS, NO_STAMPS),
    "range": Kind("int4range", v.one_of("[1,5)", "[5,9)", "[3,6)", "[7,8)", otherwise=("[1,4]",)), ("[1,5)", "[5,9)", "[3,6)", "[7,8)"), ("[1,4]", "[9,1)", "s3cret"), unique=False),
    "interval": Kind("interval", v.one_of("1 day", "2 days", "01:00:00", otherwise=("36 hours", "1 day 2:03:04")), ("1 day", "2 days"), ("36 hours", "1 day 2:03:04", "soon", ""), unique=False),
    "bytea": Kind("bytea", v.one_of("\\x00ff", "\\x01", "\\x", otherwise=("\\x00FF", "abc")), ("\\x00ff", "\\x01"), ("\\x00FF", "\\x0", "\\xzz")),
    "inet": Kind("inet", v.one_of("10.0.0.1", "10.0.0.2", "10.0.0.0/8", "::1"), ("10.0.0.1", "10.0.0.2", "::1"), ("10.0.0.256", "", "s3cret")),
    "edited": Kind("timestamptz", v.moment(6), EDITED, ("now", "s3cret")),
    "edited0": Kind("timestamp(0)", v.moment(0), EDITED, ("now", "")),
}  # fmt: skip
PLAIN = [name for name in KINDS if not name.startswith("edited")]

OWN_TYPES = """
CREATE TYPE {s}.mood AS ENUM ('happy', 'sad', '');
CREATE DOMAIN {s}.small AS integer CHECK (VALUE < 100);
CREATE DOMAIN {s}.short AS varchar(3);
CREATE DOMAIN {s}.lower_text AS text CHECK (VALUE = lower(VALUE));
CREATE DOMAIN {s}.second AS timestamp(0);
"""

CASE_INSENSITIVE = """
CREATE TYPE public.ci;
CREATE FUNCTION public.ci_in(cstring) RETURNS public.ci LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION public.ci_out(public.ci) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE public.ci (INPUT = public.ci_in, OUTPUT = public.ci_out, LIKE = pg_catalog.text, CATEGORY = 'S');
CREATE CAST (public.ci AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (text AS public.ci) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE FUNCTION public.ci_cmp(public.ci, public.ci) RETURNS integer LANGUAGE sql IMMUTABLE STRICT
    AS $$ SELECT CASE WHEN lower($1::text) < lower($2::text) THEN -1 WHEN lower($1::text) > lower($2::text) THEN 1 ELSE 0 END $$;
"""
"""The wheels' PostgreSQL is built without ICU, and has no citext: this stands for both."""


def case_insensitive() -> str:
    """SQL that makes `public.ci`, text whose = ignores case, with the operators of a B-tree."""
    parts = [CASE_INSENSITIVE]
    operators = {"<": ("lt", 1), "<=": ("le", 2), "=": ("eq", 3), ">=": ("ge", 4), ">": ("gt", 5)}
    for sign, (name, _) in operators.items():
        parts.append(
            f"CREATE FUNCTION public.ci_{name}(public.ci, public.ci) RETURNS boolean LANGUAGE sql IMMUTABLE STRICT"
            f" AS $$ SELECT lower($1::text) {sign} lower($2::text) $$;"
            f"CREATE OPERATOR public.{sign} (LEFTARG = public.ci, RIGHTARG = public.ci, FUNCTION = public.ci_{name},"
            f" COMMUTATOR = OPERATOR(public.{sign.translate(str.maketrans('<>', '><'))}));"
        )
    members = ", ".join(f"OPERATOR {number} public.{sign}" for sign, (_, number) in operators.items())
    parts.append(
        f"CREATE OPERATOR CLASS public.ci_ops DEFAULT FOR TYPE public.ci USING btree AS {members},"
        " FUNCTION 1 public.ci_cmp(public.ci, public.ci);"
    )
    return "".join(parts)
