"""What boto3 finds in a process that serves: handlers of any SDK, and clients of their own, reach the local service."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

_REGION = "us-east-1"
_NO_METADATA = "AWS_EC2_METADATA_DISABLED"


def lead_boto3_to(url: str) -> None:
    """Have every Lambda client of this process use the service at a URL.

    Where there is neither a region nor credentials, it gets some that will do here; those that there are stay, since
    handlers may need them for other services.

    Raises:
        ValueError: If what boto3 is told by the environment and its files makes no sense.

    """
    import botocore.session  # type: ignore[import-untyped]  # noqa: PLC0415 - slow to import
    from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]  # noqa: PLC0415 - the same

    os.environ["AWS_ENDPOINT_URL_LAMBDA"] = url
    for name in ("NO_PROXY", "no_proxy"):
        others = os.environ.get(name)
        host = urlsplit(url).hostname or ""
        os.environ[name] = f"{others},{host}" if others else host
    before = os.environ.get(_NO_METADATA)
    os.environ[_NO_METADATA] = "true"  # nobody waits for a machine of Amazon's that is not there
    try:
        session = botocore.session.Session()
        region, credentials = session.get_config_variable("region"), session.get_credentials()
    except BotoCoreError as problem:
        raise ValueError(str(problem)) from problem
    finally:
        if before is None:
            del os.environ[_NO_METADATA]
        else:
            os.environ[_NO_METADATA] = before
    if region is None:
        os.environ["AWS_DEFAULT_REGION"] = _REGION
    if credentials is None:
        os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "local"  # noqa: S105 - nobody's
