"""What the configuration says of backups: where this host keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from brickyard.backups.manifest import CONTAINER
from brickyard.core import settings
from brickyard.ini import Files

BACKUP_DRIVERS = {
    "directory": "directory",
    "s3": "s3",
    "none": "none",
    "cinder.backup.drivers.posix.PosixBackupDriver": "directory",
    "cinder.backup.drivers.s3.S3BackupDriver": "s3",
}


def read(files: Files, state_dir: Path) -> settings.Backups | None:
    """None where there shall be none."""

    def told(name: str) -> Any:
        return files.value("DEFAULT", f"backup_{name}")

    driver = BACKUP_DRIVERS.get(told("driver"))
    if driver is None:
        allowed = ", ".join(BACKUP_DRIVERS)
        files.wrong("DEFAULT", f"backup_driver is {told('driver')!r}; allowed: {allowed}", name="backup_driver")
    if driver == "none":
        return None
    if not CONTAINER.fullmatch(container := told("container")):
        said = f"backup_container is {container!r}; allowed: up to 63 letters, digits, dots, dashes, underscores"
        files.wrong("DEFAULT", said, name="backup_container")
    if driver == "directory":
        path = Path(told("posix_path") or state_dir / "backups")
        if not path.is_absolute():
            files.wrong(
                "DEFAULT", f"backup_posix_path is {str(path)!r}; allowed: an absolute path", name="backup_posix_path"
            )
        return settings.Backups(container, directory=path)
    if (ca_file := told("s3_ca_cert_file")) is not None and not Path(ca_file).is_file():
        said = f"backup_s3_ca_cert_file is {ca_file!r}, and there is no such file"
        files.wrong("DEFAULT", said, name="backup_s3_ca_cert_file")
    return settings.Backups(
        container,
        s3=settings.S3(
            bucket=told("s3_store_bucket"),
            endpoint_url=told("s3_endpoint_url"),
            access_key=told("s3_store_access_key"),
            secret_key=told("s3_store_secret_key"),
            region=told("s3_region"),
            verify=told("s3_verify_ssl"),
            ca_file=ca_file,
            timeout_s=told("s3_timeout"),
            retries=told("s3_retry_max_attempts"),
        ),
    )
