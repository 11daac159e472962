"""Text from outside (keys, names, ids, the LMS's words) as one harmless piece of a log line, an alert or a report."""

import json
import re

LONGEST = 4_000
SUBJECT_LIMIT = 99
TITLE_LIMIT, DESCRIPTION_LIMIT = 250, 8_000
_LINK = re.compile(r"(?<!\bs3)://")  # s3://bucket/key is no link to click on
_WEB = re.compile(r"\bwww\.", re.IGNORECASE)

_NO_MARKUP = str.maketrans({"<": "‹", ">": "›", "`": "'"})
_LINK_LINE = re.compile(r"^Look: (https?://\S+)$", re.MULTILINE)


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


def chat_message(subject: str, message: str) -> str:
    """The only form of an SNS message that Amazon Q Developer passes on to Slack and Teams: a custom notification.

    The text stands in a code block, in which nothing is markup; the run's own link stands below it.
    https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html
    """
    link = _LINK_LINE.search(message)
    below = f"\n{link[1]}" if link else ""
    room = DESCRIPTION_LIMIT - len(below) - len("```\n\n```")
    text = _LINK_LINE.sub("", message).translate(_NO_MARKUP)[:room].rstrip()
    content = {
        "textType": "client-markdown",
        "title": subject.translate(_NO_MARKUP)[:TITLE_LIMIT],
        "description": f"```\n{text}\n```{below}",
    }
    return json.dumps({"version": "1.0", "source": "custom", "content": content})
