"""Who may do what: the rule names that operators know, enforced by oslo.policy.

A decision depends on the rule, the roles, and whether the resource is in the caller's project: the answers are
remembered by these, since the same few are asked again and again.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from brickyard.core import errors
from brickyard.service import policy_file

ADMIN = "rule:admin_api"
MEMBER = "rule:admin_api or (role:member and project_id:%(project_id)s)"
READER = "rule:admin_api or (role:reader and project_id:%(project_id)s)"

# fmt: off
RULES: dict[str, str] = {
    "context_is_admin": "role:admin",
    "admin_api": "rule:context_is_admin",
    # volumes
    "volume:create": MEMBER,
    "volume:create_from_image": MEMBER,
    "volume:get": READER,
    "volume:get_all": READER,
    "volume:update": MEMBER,
    "volume:delete": MEMBER,
    "volume:force_delete": ADMIN,
    "volume:extend": MEMBER,
    "volume:extend_attached_volume": MEMBER,
    "volume:retype": MEMBER,
    "volume:revert_to_snapshot": MEMBER,
    "volume:reimage": MEMBER,
    "volume:reimage_reserved": MEMBER,
    "volume:multiattach": MEMBER,
    "volume:update_readonly_flag": MEMBER,
    "volume:get_volume_metadata": READER,
    "volume:create_volume_metadata": MEMBER,
    "volume:update_volume_metadata": MEMBER,
    "volume:delete_volume_metadata": MEMBER,
    "volume_extension:volume_tenant_attribute": READER,
    "volume_extension:volume_host_attribute": ADMIN,
    "volume_extension:volume_mig_status_attribute": ADMIN,
    "volume_extension:volume_encryption_metadata": READER,
    "volume_extension:volume_image_metadata:show": READER,
    "volume_extension:volume_image_metadata:set": MEMBER,
    "volume_extension:volume_image_metadata:remove": MEMBER,
    "volume_extension:volume_actions:attach": MEMBER,
    "volume_extension:volume_actions:detach": MEMBER,
    "volume_extension:volume_actions:reserve": MEMBER,
    "volume_extension:volume_actions:unreserve": MEMBER,
    "volume_extension:volume_actions:begin_detaching": MEMBER,
    "volume_extension:volume_actions:roll_detaching": MEMBER,
    "volume_extension:volume_actions:initialize_connection": MEMBER,
    "volume_extension:volume_actions:terminate_connection": MEMBER,
    "volume_extension:volume_actions:upload_image": MEMBER,
    "volume_extension:volume_actions:upload_public": ADMIN,
    "volume_extension:volume_admin_actions:reset_status": ADMIN,
    "volume_extension:volume_admin_actions:force_delete": ADMIN,
    "volume_extension:volume_admin_actions:force_detach": ADMIN,
    "volume_extension:volume_admin_actions:migrate_volume": ADMIN,
    "volume_extension:volume_admin_actions:migrate_volume_completion": ADMIN,
    "volume_extension:volume_admin_actions:extend_volume_completion": ADMIN,
    # snapshots
    "volume:get_all_snapshots": READER,
    "volume:get_snapshot": READER,
    "volume:create_snapshot": MEMBER,
    "volume:update_snapshot": MEMBER,
    "volume:delete_snapshot": MEMBER,
    "volume:get_snapshot_metadata": READER,
    "volume:update_snapshot_metadata": MEMBER,
    "volume:delete_snapshot_metadata": MEMBER,
    "volume_extension:extended_snapshot_attributes": READER,
    "volume_extension:snapshot_actions:update_snapshot_status": MEMBER,
    "volume_extension:snapshot_admin_actions:reset_status": ADMIN,
    "volume_extension:snapshot_admin_actions:force_delete": ADMIN,
    # backups
    "backup:get": READER,
    "backup:get_all": READER,
    "backup:create": MEMBER,
    "backup:update": MEMBER,
    "backup:delete": MEMBER,
    "backup:restore": MEMBER,
    "backup:backup-import": ADMIN,
    "backup:export-import": ADMIN,
    "backup:backup_project_attribute": ADMIN,
    "volume_extension:backup_admin_actions:reset_status": ADMIN,
    "volume_extension:backup_admin_actions:force_delete": ADMIN,
    # what lies in the pools
    "volume_extension:list_manageable": ADMIN,
    "volume_extension:volume_manage": ADMIN,
    "volume_extension:volume_unmanage": ADMIN,
    "snapshot_extension:list_manageable": ADMIN,
    "snapshot_extension:snapshot_manage": ADMIN,
    "snapshot_extension:snapshot_unmanage": ADMIN,
    # transfers
    "volume:get_all_transfers": READER,
    "volume:get_transfer": READER,
    "volume:create_transfer": MEMBER,
    "volume:accept_transfer": MEMBER,
    "volume:delete_transfer": MEMBER,
    # attachments
    "volume:attachment_create": MEMBER,
    "volume:attachment_update": MEMBER,
    "volume:attachment_delete": MEMBER,
    "volume:attachment_complete": MEMBER,
    "volume:multiattach_bootable_volume": MEMBER,
    # groups
    "group:get": READER,
    "group:get_all": READER,
    "group:create": MEMBER,
    "group:update": MEMBER,
    "group:delete": MEMBER,
    "group:reset_status": ADMIN,
    "group:enable_replication": MEMBER,
    "group:disable_replication": MEMBER,
    "group:failover_replication": MEMBER,
    "group:list_replication_targets": MEMBER,
    "group:group_project_attribute": ADMIN,
    "group:get_group_snapshot": READER,
    "group:get_all_group_snapshots": READER,
    "group:create_group_snapshot": MEMBER,
    "group:delete_group_snapshot": MEMBER,
    "group:reset_group_snapshot_status": ADMIN,
    "group:group_snapshot_project_attribute": ADMIN,
    "group:group_types:create": ADMIN,
    "group:group_types:update": ADMIN,
    "group:group_types:delete": ADMIN,
    "group:access_group_types_specs": ADMIN,
    "group:group_types_specs:get": ADMIN,
    "group:group_types_specs:get_all": ADMIN,
    "group:group_types_specs:create": ADMIN,
    "group:group_types_specs:update": ADMIN,
    "group:group_types_specs:delete": ADMIN,
    # messages
    "message:get": READER,
    "message:get_all": READER,
    "message:delete": MEMBER,
    # types
    "volume_extension:type_get": READER,
    "volume_extension:type_get_all": READER,
    "volume_extension:type_create": ADMIN,
    "volume_extension:type_update": ADMIN,
    "volume_extension:type_delete": ADMIN,
    "volume_extension:access_types_extra_specs": READER,
    "volume_extension:access_types_qos_specs_id": ADMIN,
    "volume_extension:types_extra_specs:index": READER,
    "volume_extension:types_extra_specs:show": READER,
    "volume_extension:types_extra_specs:read_sensitive": ADMIN,
    "volume_extension:types_extra_specs:create": ADMIN,
    "volume_extension:types_extra_specs:update": ADMIN,
    "volume_extension:types_extra_specs:delete": ADMIN,
    "volume_extension:volume_type_access": MEMBER,
    "volume_extension:volume_type_access:addProjectAccess": ADMIN,
    "volume_extension:volume_type_access:removeProjectAccess": ADMIN,
    "volume_extension:volume_type_access:get_all_for_type": ADMIN,
    "volume_extension:volume_type_encryption:create": ADMIN,
    "volume_extension:volume_type_encryption:get": ADMIN,
    "volume_extension:volume_type_encryption:update": ADMIN,
    "volume_extension:volume_type_encryption:delete": ADMIN,
    "volume_extension:default_set_or_update": ADMIN,
    "volume_extension:default_get": ADMIN,
    "volume_extension:default_get_all": ADMIN,
    "volume_extension:default_unset": ADMIN,
    # QoS specs
    "volume_extension:qos_specs_manage:get_all": ADMIN,
    "volume_extension:qos_specs_manage:get": ADMIN,
    "volume_extension:qos_specs_manage:create": ADMIN,
    "volume_extension:qos_specs_manage:update": ADMIN,
    "volume_extension:qos_specs_manage:delete": ADMIN,
    # quotas and limits
    "volume_extension:quotas:show": READER,
    "volume_extension:quotas:update": ADMIN,
    "volume_extension:quotas:delete": ADMIN,
    "volume_extension:quota_classes:get": ADMIN,
    "volume_extension:quota_classes:update": ADMIN,
    "limits_extension:used_limits": READER,
    # services, hosts and pools
    "volume_extension:services:index": ADMIN,
    "volume_extension:services:update": ADMIN,
    "volume:freeze_host": ADMIN,
    "volume:thaw_host": ADMIN,
    "volume:failover_host": ADMIN,
    "clusters:get": ADMIN,
    "clusters:get_all": ADMIN,
    "clusters:update": ADMIN,
    "workers:cleanup": ADMIN,
    "volume_extension:hosts": ADMIN,
    "volume_extension:capabilities": ADMIN,
    "scheduler_extension:scheduler_stats:get_pools": ADMIN,
    # own API
    "brickyard:host_get": ADMIN,
    "brickyard:host_update": ADMIN,
    "brickyard:host_lose": ADMIN,
    "brickyard:host_back": ADMIN,
    "brickyard:host_drain": ADMIN,
    "brickyard:agent_get": ADMIN,
    "brickyard:agent_enroll": ADMIN,
    "brickyard:agent_dismiss": ADMIN,
    "brickyard:pool_get": ADMIN,
    "brickyard:pool_create": ADMIN,
    "brickyard:pool_update": ADMIN,
    "brickyard:pool_delete": ADMIN,
    "brickyard:flavor_get": READER,
    "brickyard:flavor_create": ADMIN,
    "brickyard:flavor_delete": ADMIN,
    "brickyard:image_get": READER,
    "brickyard:image_create": MEMBER,
    "brickyard:image_publish": ADMIN,
    "brickyard:image_upload": MEMBER,
    "brickyard:image_update": MEMBER,
    "brickyard:image_delete": MEMBER,
    "brickyard:instance_get": READER,
    "brickyard:instance_boot": MEMBER,
    "brickyard:instance_delete": MEMBER,
    "brickyard:instance_start": MEMBER,
    "brickyard:instance_stop": MEMBER,
    "brickyard:instance_console": MEMBER,
    "brickyard:instance_attach": MEMBER,
    "brickyard:instance_detach": MEMBER,
    "brickyard:reservation_get": READER,
    "brickyard:reservation_clear": MEMBER,
    "brickyard:reservation_renew": MEMBER,
    "brickyard:receipt_get": ADMIN,
    "brickyard:flow_get": READER,
    "brickyard:audit_get": ADMIN,
    "brickyard:audit_repair": ADMIN,
    "brickyard:explain": MEMBER,
}
# fmt: on


REMEMBERED = 20_000  # answers, after which the memory of them begins anew


class Policy:
    """Decides by the defaults of RULES and the operator's file, if there is one; it is read once, at the start.

    A file is read now, so that a mistake in it stops the start. Without one the first question loads the library, or
    `warm` before it: it takes a good part of the time that a start has.
    """

    def __init__(self, file: Path | None = None) -> None:
        read = policy_file.read(file, RULES) if file is not None else policy_file.Overrides({})
        self.overrides, self.warnings = read.rules, read.warnings
        self._answers: dict[tuple[Any, ...], bool] = {}

    def warm(self) -> None:
        """Load what decides."""
        assert self._enforcer

    @functools.cached_property
    def _enforcer(self) -> Any:
        from oslo_config import cfg
        from oslo_policy import policy as oslo

        config = cfg.ConfigOpts()
        config([], project="brickyard", default_config_files=[], default_config_dirs=[])
        enforcer = oslo.Enforcer(config, use_conf=False)  # it looks at no file of its own
        enforcer.set_rules(oslo.Rules.from_dict({**RULES, **self.overrides}), use_conf=False)
        return enforcer

    def allows(self, rule: str, caller: Any, project_id: str | None = None) -> bool:
        """Whether `caller` (a Caller) passes `rule` for a resource of `project_id`; None: of its own project."""
        same = bool(caller.project_id) and project_id in (None, caller.project_id)
        question: tuple[Any, ...] = (rule, caller.roles, same)
        if self.overrides:  # which may name users and projects
            question = (*question, caller.user_id, caller.project_id, caller.is_admin)
        answer = self._answers.get(question)
        if answer is None:
            target = {"project_id": caller.project_id if same else "of another one"}
            answer = bool(self._enforcer.enforce(rule, target, _credentials(caller)))
            if len(self._answers) >= REMEMBERED:
                self._answers.clear()
            self._answers[question] = answer
        return answer

    def check(self, rule: str, caller: Any, project_id: str | None = None) -> None:
        """Raise Forbidden unless `allows`."""
        if not self.allows(rule, caller, project_id):
            raise errors.Forbidden(f"Policy doesn't allow {rule} to be performed.")


def _credentials(caller: Any) -> dict[str, Any]:
    """What the checks of a rule may ask of a caller. What a caller has not, a project or the system, is not in it."""
    scope = {"project_id": caller.project_id} if caller.project_id else {"system_scope": "all"}
    who = {"roles": list(caller.roles), "user_id": caller.user_id}
    return {**who, **scope, "is_admin": caller.is_admin, "is_admin_project": True}
