"""Where each credential comes from: the saved block that the deployment names, else the environment."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar, cast

from prefect.blocks.core import Block
from prefect_aws.s3 import S3Bucket

from blocks.alerts import AlertTopic
from blocks.environment import (
    UnreadableFile,
    alert_topic_from,
    lms_account_from,
    s3_bucket_from,
)
from blocks.environment import read_environment as read_variables
from blocks.lms import LmsAccount, hash_key_problem
from tasks.errors import ConfigError

if TYPE_CHECKING:
    from prefect_sqlalchemy import SqlAlchemyConnector

BlockT = TypeVar("BlockT", bound=Block)


def read_environment() -> dict[str, str]:
    """The process's environment over the working directory's `.env`; see `blocks.environment`.

    Raises:
        ConfigError: the `.env` cannot be read.
    """
    try:
        return read_variables()
    except UnreadableFile as error:
        raise ConfigError(str(error)) from None


def lms_account(blocks: str | None) -> LmsAccount:
    """The LMS account of the block set `blocks`, or of the environment."""
    return _resolve(LmsAccount, blocks, lms_account_from)


def hash_key(blocks: str | None) -> str | None:
    """The hash key of the block set `blocks`, or of the environment; None if neither has one."""
    if (saved := lms_account(blocks).hash_key) is not None:
        return saved.get_secret_value()
    key = read_environment().get("LMS_HASH_KEY")
    if key is not None and (problem := hash_key_problem(key)):
        raise ConfigError("fix these settings:", [f"LMS_HASH_KEY {problem}"])
    return key


def s3_bucket(blocks: str | None) -> S3Bucket:
    """The bucket, with its credentials, of the block set `blocks`, or of the environment."""
    return _resolve(S3Bucket, blocks, s3_bucket_from)


def database(blocks: str | None) -> "SqlAlchemyConnector":
    """The database of the block set `blocks`, or of the environment."""
    # Not imported above: what loads nothing, such as the webhook service, starts a quarter of a second sooner.
    from prefect_sqlalchemy import SqlAlchemyConnector

    from blocks.database import database_from

    return _resolve(SqlAlchemyConnector, blocks, database_from)


def alert_topic(blocks: str | None) -> AlertTopic | None:
    """The alert topic of the block set `blocks`, else of the environment, else None."""
    if blocks and (saved := load_saved(AlertTopic, blocks)) is not None:
        return saved
    return environment_topic(read_environment())


def environment_topic(environment: Mapping[str, str]) -> AlertTopic | None:
    """The alert topic of the environment, else None."""
    problems: list[str] = []
    topic = alert_topic_from(environment, problems)
    if problems:
        raise ConfigError("fix these settings:", problems)
    return topic


def load_saved(block_type: type[BlockT], name: str) -> BlockT | None:
    """The saved block of that type and name, or None where Prefect has none."""
    try:
        return cast(BlockT, block_type.load(name))
    except ValueError as error:
        # Prefect raises ValueError for a missing block and for one it cannot read; only the text differs
        if "Unable to find block document" in str(error):
            return None
        raise ConfigError(
            f"block {block_type.get_block_type_slug()}/{name} could not be read ({type(error).__name__}). "
            "Save it again with `python -m blocks.save`."
        ) from None


def _resolve(
    block_type: type[BlockT],
    blocks: str | None,
    from_environment: Callable[[Mapping[str, str], list[str]], BlockT | None],
) -> BlockT:
    if blocks:
        saved = load_saved(block_type, blocks)
        if saved is None:
            raise ConfigError(
                f"no block {block_type.get_block_type_slug()}/{blocks} is saved. "
                f"Save it with `python -m blocks.save --name {blocks}`, or leave `blocks` out to use environment "
                "variables."
            )
        return saved
    problems: list[str] = []
    block = from_environment(read_environment(), problems)
    if block is None:
        raise ConfigError("fix these settings:", problems)
    return block
