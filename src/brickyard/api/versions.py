"""Microversions of Block Storage v3: one list. A line here is a version that is served; nothing else declares one."""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple, TypeVar

from brickyard.core import errors

T = TypeVar("T")


class Version(NamedTuple):
    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


HISTORY: dict[str, str] = {
    "3.0": "Volumes, snapshots, types, quotas, limits, services, pools.",
    "3.1": "What is uploaded as an image has a visibility, and may be protected.",
    "3.2": "Boolean filters of volume lists are strict.",
    "3.3": "Messages: list, show, delete.",
    "3.4": "Volumes are filtered by glance_metadata.",
    "3.5": "Messages are paged, sorted and filtered.",
    "3.6": "The name and description of a consistency group may become empty.",
    "3.7": "Clusters, of which there are none; cluster in services.",
    "3.8": "What lies in the pools: newer names of what lists it and takes it over.",
    "3.9": "Change the name and description of a backup.",
    "3.10": "Volumes are filtered by group_id.",
    "3.11": "Group types, and their specs.",
    "3.12": "Volume summary.",
    "3.13": "Groups; group_id in volumes.",
    "3.14": "Group snapshots; groups that are made from them or from groups.",
    "3.15": "ETag of volume metadata.",
    "3.16": "A request may name a cluster where it names a host.",
    "3.17": "What lies in the pools is listed by cluster.",
    "3.18": "Projects of backups, for administrators.",
    "3.19": "The status of a group snapshot is reset.",
    "3.20": "The status of a group is reset.",
    "3.21": "provider_id in volumes, for administrators.",
    "3.22": "Snapshots are filtered by metadata.",
    "3.23": "Delete a volume with force.",
    "3.24": "Clean up after workers that died.",
    "3.25": "Groups are shown with their volumes.",
    "3.26": "Freeze, thaw and failover take a cluster.",
    "3.27": "Attachments: create, list, show, update, delete.",
    "3.28": "Pools are filtered.",
    "3.29": "Group snapshots are filtered, sorted and paged.",
    "3.30": "Snapshots are sorted by name.",
    "3.31": "An unknown filter is an error.",
    "3.32": "Levels of the log.",
    "3.33": "Resource filters.",
    "3.34": "Filters that match a part of the text.",
    "3.35": "Pools are filtered by volume type.",
    "3.36": "Metadata in the volume summary.",
    "3.37": "Backups are sorted by name.",
    "3.38": "replication_status in groups, none of which is replicated.",
    "3.39": "Limits of another project, for administrators.",
    "3.40": "Revert a volume to its latest snapshot.",
    "3.41": "user_id in snapshots.",
    "3.42": "Extend a volume in use.",
    "3.43": "Metadata of backups.",
    "3.44": "Attachments: complete.",
    "3.45": "Counts in lists.",
    "3.47": "Volumes are created from backups.",
    "3.48": "shared_targets and service_uuid in volumes.",
    "3.49": "backend_state in services.",
    "3.50": "Multiattach.",
    "3.51": "Backups are made in an availability zone.",
    "3.52": "Types are filtered by extra specs; types have availability zones.",
    "3.53": "Unknown keys in volume requests are errors.",
    "3.54": "mode in attachment create.",
    "3.55": "Transfers without snapshots.",
    "3.56": "user_id in backups, for administrators.",
    "3.57": "Projects of transfers.",
    "3.58": "project_id in groups and group snapshots, for administrators.",
    "3.59": "Transfers are paged and sorted.",
    "3.60": "Volumes are filtered by time.",
    "3.61": "cluster_name in volumes, for administrators.",
    "3.62": "Default types of projects.",
    "3.63": "volume_type_id in volumes.",
    "3.65": "consumes_quota in volumes and snapshots.",
    "3.66": "Snapshots of volumes in use need no force.",
    "3.67": "The project in the URL is optional.",
    "3.68": "Re-image a volume.",
    "3.71": "What extends a volume may be told that it is done; nothing here waits for that.",
}

# Versions in between that change nothing here, and why.
NO_EFFECT: dict[str, str] = {
    "3.46": "Images are not snapshots of volumes here.",
    "3.64": "No volume is encrypted here.",
    "3.69": "No volume here has a target that others share.",
    "3.70": "No volume is encrypted here.",
}

VERSION = re.compile(r"([1-9]\d{0,8})\.([1-9]\d{0,8}|0)")


def parse(text: str) -> Version:
    match = VERSION.fullmatch(text)
    if not match:
        raise errors.Invalid(
            f"API Version String '{text}' is of invalid format. It must be of format 'MAJOR.MINOR'.",
            field="OpenStack-API-Version",
        )
    return Version(int(match[1]), int(match[2]))


MIN = parse(next(iter(HISTORY)))
MAX = parse(list(HISTORY)[-1])


class Unserved(errors.NotAcceptable):
    """A microversion outside what is served; carries it, since the answer's header repeats it."""

    def __init__(self, version: Version) -> None:
        super().__init__(f"Version {version} is not supported by the API. Minimum is {MIN} and maximum is {MAX}.")
        self.version = version


@functools.lru_cache(maxsize=256)
def requested(header: str | None) -> Version:
    """The microversion of a request, from its OpenStack-API-Version header; 3.0 without one."""
    if not header:
        return MIN
    for element in header.split(","):
        words = element.split()
        if words and "volume" in words[0]:
            if len(words) != 2:
                raise errors.Invalid(
                    f"The header must say 'volume X.Y', and not {element.strip()!r}.", field="OpenStack-API-Version"
                )
            if words[1] == "latest":
                return MAX
            version = parse(words[1])
            if not MIN <= version <= MAX:
                raise Unserved(version)
            return version
    raise errors.Invalid("The header names no version of the volume API.", field="OpenStack-API-Version")


def pick(windows: dict[str, T], wanted: Version) -> T | None:
    """The entry of the newest window that is not newer than the request."""
    fits = [version for version in windows if parse(version) <= wanted]
    return windows[max(fits, key=parse)] if fits else None


def document(self_url: str) -> dict[str, Any]:
    """The version document of `/` and `/v3/`."""
    return {
        "versions": [
            {
                "id": "v3.0",
                "status": "CURRENT",
                "version": str(MAX),
                "min_version": str(MIN),
                "updated": "2023-08-31T00:00:00Z",
                "links": [
                    {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
                    {"rel": "self", "href": self_url},
                ],
                "media-types": [
                    {"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}
                ],
            }
        ]
    }
