"""Every flow there is."""

from __future__ import annotations

from brickyard.flows import (
    attach_instance,
    attach_volume,
    boot_instance,
    create_snapshot,
    create_volume,
    delete_instance,
    delete_snapshot,
    delete_volume,
    destroy_pool,
    detach_instance,
    detach_volume,
    drain_device,
    extend_pool,
    extend_volume,
    make_pool,
    manage_brick,
    relabel_bricks,
    remove_device,
    repair_adopt,
    repair_host,
    repair_records,
    repair_remove,
    revert_volume,
    start_instance,
    stop_instance,
    unmanage_brick,
)

FLOWS = {
    module.FLOW.name: module.FLOW
    for module in (
        create_volume,
        delete_volume,
        extend_volume,
        create_snapshot,
        delete_snapshot,
        revert_volume,
        manage_brick,
        unmanage_brick,
        attach_volume,
        detach_volume,
        relabel_bricks,
        boot_instance,
        delete_instance,
        start_instance,
        stop_instance,
        attach_instance,
        detach_instance,
        make_pool,
        extend_pool,
        drain_device,
        remove_device,
        destroy_pool,
        repair_adopt,
        repair_remove,
        repair_host,
        repair_records,
    )
}
