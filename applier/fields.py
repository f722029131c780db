"""ACK's names of fields: the API's own in lower camel case, with Go's initialisms (roleARN, s3URI, kmsKeyID).

A field is looked up among the names that botocore's model knows, so that going back needs no guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[^A-Za-z]+")
_RUN_TOGETHER = re.compile(r"(AWS|SSE)(?=[A-Z])")
_INITIALISMS = {
    word.capitalize(): word
    for word in (
        *("ACL", "AMI", "API", "ARN", "AWS", "CIDR", "CPU", "DNS", "EBS", "EFS", "HTTP", "HTTPS", "IAM", "ID", "IP"),
        *("KMS", "SQL", "SSE", "SSL", "TLS", "TTL", "UI", "URI", "URL", "UUID", "VPC"),
    )
} | {"Acls": "ACLs", "Arns": "ARNs", "Ids": "IDs", "Uris": "URIs", "Urls": "URLs"}


@cache
def ack_name(api_name: str) -> str:
    """`roleARN` for the API's `RoleArn`, `kmsKeyID` for `KMSKeyId`."""
    first, *rest = _words(api_name)
    return first.lower() + "".join(_INITIALISMS.get(word, word[0].upper() + word[1:]) for word in rest)


def api_names(names: Iterable[str]) -> dict[str, str]:
    """The API's name of each field, by ACK's."""
    return {ack_name(name): name for name in names}


def _words(name: str) -> list[str]:
    words: list[str] = []
    for word in _WORDS.findall(name):
        words += _RUN_TOGETHER.sub(r"\1 ", word).split(" ") if word.isupper() else [word]
    return words
