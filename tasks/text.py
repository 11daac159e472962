"""Text from outside (keys, names, ids, the LMS's words) as one harmless piece of a log line, an alert or a report."""

import re

LONGEST = 4_000
SUBJECT_LIMIT = 99  # SNS takes less than 100 characters
_LINK = re.compile(r"(?<!\bs3)://")  # s3://bucket/key is no link to click on
_WEB = re.compile(r"\bwww\.", re.IGNORECASE)


def one_line(text: str) -> str:
    """The text on one line: line breaks, control and invisible characters as escapes; cut where it is very long.

    >>> one_line("a.csv\\n\\nACTION NEEDED: \\x1b[1msign in")
    'a.csv\\\\n\\\\nACTION NEEDED: \\\\x1b[1msign in'
    """
    text = text if len(text) <= LONGEST else text[:LONGEST] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def harmless(text: str) -> str:
    """The text on one line, and none of its links can be clicked on.

    >>> harmless("see https://evil.example or www.evil.example, not s3://bucket/key")
    'see https[:]//evil.example or www[.]evil.example, not s3://bucket/key'
    """
    return _WEB.sub(lambda found: found[0][:-1] + "[.]", _LINK.sub("[:]//", one_line(text)))


def quoted_code(text: str) -> str:
    """The text for a Markdown code span, in which nothing else is Markdown; `|` would end a table's cell."""
    return harmless(text).replace("`", "'").replace("|", "¦")


def subject_line(text: str) -> str:
    """A subject that SNS takes: one line of less than 100 ASCII characters, without a link.

    >>> subject_line("no load into Geschäft.members")
    'department-members: no load into Gesch?ft.members'
    """
    line = " ".join(f"department-members: {harmless(text)}".split())
    return line.encode("ascii", "replace").decode()[:SUBJECT_LIMIT]


def without_user(address: str) -> str:
    """A web address without the user name and password that it may hold.

    >>> without_user("https://admin:secret@prefect.example/api"), without_user("http://127.0.0.1:4200/api")
    ('https://prefect.example/api', 'http://127.0.0.1:4200/api')
    """
    return re.sub(r"(?<=://)[^/?#]*@", "", address)
