"""Backups in an object store that speaks S3. boto3 comes with the extra `s3` and is imported when it is needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from brickyard.core import errors
from brickyard.core.settings import S3

DELETE_MAX = 1000  # objects in one request
ABSENT = ("NoSuchKey", "404", "NotFound")


class Bucket:
    """Objects of one bucket, which is made if it is not there."""

    def __init__(self, settings: S3) -> None:
        try:
            import boto3
            import botocore.config
            import botocore.exceptions
        except ImportError as error:
            raise errors.BrickError(
                "backup_driver is s3, and boto3 is not installed: pip install 'brickyard[s3]'"
            ) from error
        self._settings, self._failures = settings, (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)
        self._client: Any = boto3.session.Session().client(
            "s3",
            endpoint_url=settings.endpoint_url,
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=settings.secret_key,
            region_name=settings.region,
            verify=(settings.ca_file or True) if settings.verify else False,
            config=botocore.config.Config(
                connect_timeout=settings.timeout_s,
                read_timeout=settings.timeout_s,
                retries={"max_attempts": settings.retries, "mode": "standard"},
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",  # what is not Amazon's need not know newer ones
                response_checksum_validation="when_required",
            ),
        )

    @property
    def id(self) -> str:
        return f"{self._settings.endpoint_url or 's3'}/{self._settings.bucket}"

    def check(self) -> None:
        bucket = self._settings.bucket
        with self._mapped():
            try:
                self._client.head_bucket(Bucket=bucket)
            except self._failures as error:
                if _code(error) not in (*ABSENT, "NoSuchBucket"):
                    raise
                region = self._settings.region
                place = {"CreateBucketConfiguration": {"LocationConstraint": region}} if region != "us-east-1" else {}
                self._client.create_bucket(Bucket=bucket, **place)

    def put(self, name: str, content: bytes) -> None:
        with self._mapped():
            self._client.put_object(Bucket=self._settings.bucket, Key=name, Body=content)

    def get(self, name: str) -> bytes:
        with self._mapped():
            try:
                found = self._client.get_object(Bucket=self._settings.bucket, Key=name)
                return bytes(found["Body"].read())
            except self._failures as error:
                if _code(error) not in ABSENT:
                    raise
                raise errors.NotFound(f"There is no {name} in bucket {self._settings.bucket}.") from None

    def list(self, prefix: str) -> dict[str, int]:
        with self._mapped():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._settings.bucket, Prefix=prefix)
            return {found["Key"]: int(found["Size"]) for page in pages for found in page.get("Contents", ())}

    def delete(self, prefix: str, names: Sequence[str]) -> None:
        for start in range(0, len(names), DELETE_MAX):
            some = [{"Key": name} for name in names[start : start + DELETE_MAX]]
            with self._mapped():
                told = self._client.delete_objects(
                    Bucket=self._settings.bucket, Delete={"Objects": some, "Quiet": True}
                )
            if failed := told.get("Errors"):
                raise errors.BrickError(
                    f"{len(failed)} objects of bucket {self._settings.bucket} could not be deleted, "
                    f"{failed[0].get('Key')} since: {failed[0].get('Message')}; it is tried again"
                )

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except self._failures as error:
            raise errors.BrickError(
                f"the object store {self.id}: {error}; look at backup_s3_* in the configuration and at the store"
            ) from error


def _code(error: Exception) -> str:
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))
