"""Every action of Block Storage v3: the key of the body of POST …/action, handler, policy, microversion and schema."""

from __future__ import annotations

from collections.abc import Mapping

from brickyard.api.actions import Action
from brickyard.api.handlers import attachments, backups, group_snapshots, groups, manageable, snapshots, volume_actions
from brickyard.api.schemas import backups as backup_schemas
from brickyard.api.schemas import groups as group_schemas
from brickyard.api.schemas import snapshots as snapshot_schemas
from brickyard.api.schemas import volume_actions as action_schemas

DO = "volume_extension:volume_actions"
ADMIN_DO = "volume_extension:volume_admin_actions"
IMAGE = "volume_extension:volume_image_metadata"

VOLUME: Mapping[str, Action] = {
    # attaching, the older way
    "os-reserve": Action(volume_actions.reserve, f"{DO}:reserve"),
    "os-unreserve": Action(volume_actions.unreserve, f"{DO}:unreserve"),
    "os-attach": Action(volume_actions.attach, f"{DO}:attach", schema=action_schemas.ATTACH),
    "os-detach": Action(volume_actions.detach, f"{DO}:detach", schema=action_schemas.DETACH),
    "os-begin_detaching": Action(volume_actions.begin_detaching, f"{DO}:begin_detaching"),
    "os-roll_detaching": Action(volume_actions.roll_detaching, f"{DO}:roll_detaching"),
    "os-initialize_connection": Action(
        volume_actions.initialize_connection, f"{DO}:initialize_connection", schema=action_schemas.INITIALIZE
    ),
    "os-terminate_connection": Action(
        volume_actions.terminate_connection, f"{DO}:terminate_connection", schema=action_schemas.TERMINATE
    ),
    # what becomes of the volume
    "os-extend": Action(volume_actions.extend, "volume:extend", schema=action_schemas.EXTEND),
    "os-retype": Action(volume_actions.retype, "volume:retype", schema=action_schemas.RETYPE),
    "revert": Action(volume_actions.revert, "volume:revert_to_snapshot", "3.40", action_schemas.REVERT),
    "os-reimage": Action(volume_actions.reimage, "volume:reimage", "3.68", action_schemas.REIMAGE),
    "os-volume_upload_image": Action(volume_actions.upload, f"{DO}:upload_image", schema=action_schemas.UPLOAD),
    "os-set_bootable": Action(volume_actions.set_bootable, "volume:update", schema=action_schemas.SET_BOOTABLE),
    "os-update_readonly_flag": Action(
        volume_actions.update_readonly_flag, "volume:update_readonly_flag", schema=action_schemas.SET_READONLY
    ),
    "os-set_image_metadata": Action(volume_actions.set_image_metadata, f"{IMAGE}:set", schema=action_schemas.SET_IMAGE),
    "os-show_image_metadata": Action(volume_actions.show_image_metadata, f"{IMAGE}:show"),
    "os-unset_image_metadata": Action(
        volume_actions.unset_image_metadata, f"{IMAGE}:remove", schema=action_schemas.UNSET_IMAGE
    ),
    # by administrators
    "os-reset_status": Action(volume_actions.reset_status, f"{ADMIN_DO}:reset_status", schema=action_schemas.RESET),
    "os-force_delete": Action(volume_actions.force_delete, f"{ADMIN_DO}:force_delete"),
    "os-force_detach": Action(
        volume_actions.force_detach, f"{ADMIN_DO}:force_detach", schema=action_schemas.FORCE_DETACH
    ),
    "os-migrate_volume": Action(volume_actions.migrate, f"{ADMIN_DO}:migrate_volume", schema=action_schemas.MIGRATE),
    "os-migrate_volume_completion": Action(
        volume_actions.complete_migration, f"{ADMIN_DO}:migrate_volume_completion", schema=action_schemas.COMPLETE
    ),
    "os-extend_volume_completion": Action(
        volume_actions.refuse_completion, f"{ADMIN_DO}:extend_volume_completion", "3.71", action_schemas.COMPLETION
    ),
    "os-unmanage": Action(manageable.unmanage_volume, "volume_extension:volume_unmanage"),
}
SNAPSHOT: Mapping[str, Action] = {
    "os-reset_status": Action(
        snapshots.reset_status, "volume_extension:snapshot_admin_actions:reset_status", schema=snapshot_schemas.RESET
    ),
    "os-force_delete": Action(snapshots.force_delete, "volume_extension:snapshot_admin_actions:force_delete"),
    "os-unmanage": Action(manageable.unmanage_snapshot, "snapshot_extension:snapshot_unmanage"),
    "os-update_snapshot_status": Action(
        snapshots.update_status,
        "volume_extension:snapshot_actions:update_snapshot_status",
        schema=snapshot_schemas.PROGRESS,
    ),
}
BACKUP_ADMIN = "volume_extension:backup_admin_actions"
BACKUP: Mapping[str, Action] = {
    "os-reset_status": Action(backups.reset_status, f"{BACKUP_ADMIN}:reset_status", schema=backup_schemas.RESET),
    "os-force_delete": Action(backups.force_delete, f"{BACKUP_ADMIN}:force_delete"),
}
ATTACHMENT: Mapping[str, Action] = {
    "os-complete": Action(attachments.complete, "volume:attachment_complete", "3.44"),
}

GROUPS: Mapping[str, Action] = {
    "create-from-src": Action(groups.create_from, "group:create", "3.14", group_schemas.CREATE_FROM),
}
GROUP: Mapping[str, Action] = {
    "delete": Action(groups.delete, "group:delete", "3.13", group_schemas.DELETE),
    "reset_status": Action(groups.reset_status, "group:reset_status", "3.20", group_schemas.RESET),
    "enable_replication": Action(groups.replication, "group:enable_replication", "3.38"),
    "disable_replication": Action(groups.replication, "group:disable_replication", "3.38"),
    "failover_replication": Action(groups.replication, "group:failover_replication", "3.38"),
    "list_replication_targets": Action(groups.replication, "group:list_replication_targets", "3.38"),
}
GROUP_SNAPSHOT: Mapping[str, Action] = {
    "reset_status": Action(
        group_snapshots.reset_status, "group:reset_group_snapshot_status", "3.19", group_schemas.RESET
    ),
}
