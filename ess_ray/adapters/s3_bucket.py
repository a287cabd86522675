"""The bucket itself, by boto3: making it, and asking its server for the time. What obstore has no call for."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any, Final

from ess_ray.adapters.s3_location import DEFAULT_REGION, S3Location
from ess_ray.core.errors import Unavailable

ABORT_PARTS_DAYS: Final = 1
"""Parts of an upload that nobody finished are kept (and paid for) so long: uploads take minutes."""
_ABORT_RULE: Final = {
    "ID": "ess-abort-unfinished-uploads",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_PARTS_DAYS},
}
_OURS: Final = "BucketAlreadyOwnedByYou"


def make_bucket(location: S3Location) -> bool:
    """Make the location's bucket, with a rule that clears unfinished uploads; False when it is there already.

    A bucket that is there is left as it is: setting a rule would replace its owner's. Idempotent. Raises Unavailable.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    client, given = location.boto3_client(), {}
    if location.region != DEFAULT_REGION:
        given = {"CreateBucketConfiguration": {"LocationConstraint": location.region}}
    try:
        try:
            client.head_bucket(Bucket=location.bucket)
            return False
        except ClientError as error:
            if _status(error) != 404:
                raise
        client.create_bucket(Bucket=location.bucket, **given)
        client.put_bucket_lifecycle_configuration(
            Bucket=location.bucket, LifecycleConfiguration={"Rules": [_ABORT_RULE]}
        )
        return True
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == _OURS:
            return False  # somebody of us made it a moment ago
        raise Unavailable(
            f"cannot make the bucket {location.bucket}: {error}; create it by hand, or let these keys do it"
        ) from error
    except BotoCoreError as error:
        raise Unavailable(f"cannot make the bucket {location.bucket} just now: {error}") from error
    finally:
        client.close()


def server_time_us(location: S3Location) -> int:
    """Ask the store's server for its time, in whole seconds, cut off. Raises Unavailable.

    A refusal tells the time as well, so this needs no rights.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    client = location.boto3_client()
    try:
        try:
            answer = client.head_bucket(Bucket=location.bucket)
        except ClientError as error:
            answer = error.response
        return int(parsedate_to_datetime(_date(answer)).timestamp()) * 1_000_000
    except (BotoCoreError, KeyError, ValueError) as error:
        raise Unavailable(
            f"cannot ask the object store of {location.url} for its time just now: {error}; check the endpoint"
        ) from error
    finally:
        client.close()


def _date(answer: Any) -> str:
    return str(answer["ResponseMetadata"]["HTTPHeaders"]["date"])


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
