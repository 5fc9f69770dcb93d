"""What boto3 finds in a process that serves: handlers of any SDK, and clients of their own, reach the local service."""

from __future__ import annotations

import os

_REGION = "us-east-1"
_NO_METADATA = "AWS_EC2_METADATA_DISABLED"


def lead_boto3_to(url: str) -> None:
    """Have every Lambda client of this process use the service at a URL.

    Where there is neither a region nor credentials, it gets some that will do here; those that there are stay, since
    handlers may need them for other services.
    """
    import botocore.session  # type: ignore[import-untyped]  # noqa: PLC0415 - slow to import

    os.environ["AWS_ENDPOINT_URL_LAMBDA"] = url
    before = os.environ.get(_NO_METADATA)
    os.environ[_NO_METADATA] = "true"  # nobody waits for a machine of Amazon's that is not there
    try:
        session = botocore.session.Session()
        region, credentials = session.get_config_variable("region"), session.get_credentials()
    finally:
        if before is None:
            del os.environ[_NO_METADATA]
        else:
            os.environ[_NO_METADATA] = before
    if region is None:
        os.environ["AWS_DEFAULT_REGION"] = _REGION
    if credentials is None:
        os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AWS_SECRET_ACCESS_KEY"] = "local"  # noqa: S105 - nobody's
