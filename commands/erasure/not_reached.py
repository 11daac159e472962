"""What an erasure does not reach, for the person who runs it."""

from collections.abc import Iterable

ALWAYS = (
    "backups of the database and of the bucket, and replicas of either",
    "PostgreSQL's write-ahead log, and deleted rows until VACUUM has run",
    "mails and chat messages, which hold no row of a person, at most an id",
    "Prefect's events, which have names, messages and reports of runs and expire by themselves (by default in 7 days)",
    "what else Prefect's API cannot delete of Prefect's database, and its backups",
    "logs kept elsewhere than in Prefect: a terminal, a container's output",
    "copies that other programs made of the tables or of the bucket",
)


def not_reached(other_buckets: Iterable[str], untagged: list[str]) -> list[str]:
    """A line for each store or copy that is not reached.

    Args:
        other_buckets: those from which tables were loaded, apart from the one that was searched.
        untagged: objects that were rewritten without their tags.
    """
    tags = (
        "tags that were not kept, since these credentials lack s3:GetObjectTagging or s3:PutObjectTagging: set them "
        f"again, if there were any, on {', '.join(untagged)}"
    )
    buckets = [f"the bucket {name}, from which tables were loaded" for name in sorted(other_buckets)]
    return [*ALWAYS, *buckets, *([tags] if untagged else [])]
