"""The rights that AWS asks for each call, and whether a role's policies grant them.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tests.deploy.calls import Call
from tests.deploy.stack import DATABASE_ID

WRITES = {"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"}
READS = {"GetObject", "HeadObject"}
ASK_MORE = {"ACL", "Tagging", "GrantRead", "ObjectLockMode", "SSEKMSKeyId"}  # parameters that need rights of their own


@dataclass(frozen=True)
class Need:
    """One action on one resource, and what the request says of it."""

    action: str
    resource: str
    context: dict[str, str] = field(default_factory=dict)


def need(call: Call) -> Need:
    """The right that AWS asks for that call."""
    told = call.parameters
    assert not ASK_MORE & set(told), f"{call.operation} asks for more than one right now: tell the template and this"
    bucket = f"arn:aws:s3:::{told.get('Bucket')}"
    one = f"{bucket}/{told.get('Key')}"
    match call.service, call.operation:
        case "s3", "ListObjectsV2":
            return Need("s3:ListBucket", bucket, {"s3:prefix": told["Prefix"]})
        case "s3", "AbortMultipartUpload":
            return Need("s3:AbortMultipartUpload", one)
        case "s3", write if write in WRITES:
            return Need("s3:PutObject", one)
        case "s3", read if read in READS:
            return Need("s3:GetObjectVersion" if "VersionId" in told else "s3:GetObject", one)
        case "sns", "Publish":
            return Need("sns:Publish", told["TopicArn"])
        case "rds", "connect":
            user = f"{DATABASE_ID}/{told['DBUser']}"  # a token names the host; RDS knows which database that is
            return Need("rds-db:connect", f"arn:aws:rds-db:{told['region']}:123456789012:dbuser:{user}")
    raise AssertionError(f"no right is known for {call.service} {call.operation}")


@dataclass(frozen=True)
class Grant:
    """One action on one pattern of resources, under the conditions that the statement names."""

    action: str
    resource: str
    condition: dict[str, dict[str, str]]

    def allows(self, asked: Need) -> bool:
        """Whether IAM would grant that by this. Only the one condition that the template uses is known."""
        assert set(self.condition) <= {"StringLike"}, self.condition
        patterns = self.condition.get("StringLike", {})
        return (
            asked.action == self.action
            and fnmatchcase(asked.resource, self.resource)
            and all(name in asked.context and fnmatchcase(asked.context[name], like) for name, like in patterns.items())
        )


def grants(statements: list[dict[str, Any]]) -> list[Grant]:
    """What these statements allow, one action and one resource each; anything but plain Allows is refused."""
    for statement in statements:
        assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}, statement
        assert statement["Effect"] == "Allow", statement
    return [
        Grant(action, resource, condition)
        for statement in statements
        for action in several(statement["Action"])
        for resource in several(statement["Resource"])
        for condition in conditions(statement.get("Condition", {}))
    ]


def conditions(given: dict[str, dict[str, Any]]) -> list[dict[str, dict[str, str]]]:
    """A condition for each of the values that one may have: IAM takes any of them."""
    if not given:
        return [{}]
    [(operator, [(name, values)])] = [(operator, list(names.items())) for operator, names in given.items()]
    return [{operator: {name: value}} for value in several(values)]


def several(value: str | list[str]) -> list[str]:
    """IAM takes one or a list."""
    return [value] if isinstance(value, str) else value
