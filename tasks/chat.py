"""Alerts in a format that subscribers can display: text for e-mail, a custom notification for Slack and Teams."""

import json
import re

# Amazon Q's limits for a custom notification (link in chat_message); SNS takes 256 KB of text
TITLE_LIMIT, DESCRIPTION_LIMIT, TEXT_LIMIT = 250, 8_000, 200_000
# Backticks would end the code block, and < begins a link in Slack.
_NO_MARKUP = str.maketrans({"<": "‹", ">": "›", "`": "'"})
# the `Look:` line that tasks/alert.py and webhooks/alerts.py write
_LINK_LINE = re.compile(r"^Look: (https?://\S+)$", re.MULTILINE)


def in_format(alert_format: str, subject: str, message: str) -> str:
    """The message as ALERT_FORMAT says, no longer than SNS takes."""
    return chat_message(subject, message) if alert_format == "chat" else message[:TEXT_LIMIT]


def shortened(text: str, room: int) -> str:
    """As many lines from the beginning as there is room for, the last one, and how many were left out between.

    >>> shortened("first\\nsecond, which is longer\\nthird\\nHelp: page", 42).splitlines()
    ['first', '(2 more lines)', 'Help: page']
    """
    if len(text) <= room:
        return text
    *lines, last = text.splitlines()
    kept = lines
    while kept and len("\n".join(kept)) + len(last) + len("\n(00000 more lines)\n") > room:
        kept = kept[:-1]
    return "\n".join([*kept, f"({len(lines) - len(kept)} more lines)", last])[:room]


def chat_message(subject: str, message: str) -> str:
    """The only form of an SNS message that Amazon Q Developer passes on to Slack and Teams: a custom notification.

    The text stands in a code block, in which nothing is markup; the run's own link stands below it.
    https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html
    """
    link = _LINK_LINE.search(message)
    below = f"\n{link[1]}" if link else ""
    room = DESCRIPTION_LIMIT - len(below) - len("```\n\n```")
    text = shortened(_LINK_LINE.sub("", message).translate(_NO_MARKUP).rstrip(), room)
    content = {
        "textType": "client-markdown",
        "title": subject.translate(_NO_MARKUP)[:TITLE_LIMIT],
        "description": f"```\n{text}\n```{below}",
    }
    return json.dumps({"version": "1.0", "source": "custom", "content": content})
