"""Which calls a run may send at all, and from which level on."""

from __future__ import annotations

from reconciler.core.wanted import Level

LEVELS = {
    "pool.set_default_SR": Level.METADATA,
    "pool.set_suspend_image_SR": Level.METADATA,
    "VM.set_affinity": Level.METADATA,
    "pool.sync_database": Level.METADATA,
    "host.add_to_other_config": Level.METADATA,
    "host.remove_from_other_config": Level.METADATA,
    "pool.designate_new_master": Level.MOVE,
    "host.disable": Level.MOVE,
    "host.enable": Level.MOVE,
    "VM.pool_migrate": Level.MOVE,
    "VM.start_on": Level.POWER,
    "VM.resume_on": Level.POWER,
    "VM.unpause": Level.POWER,
    "VM.clean_shutdown": Level.POWER,
    "VM.suspend": Level.POWER,
    "host.declare_dead": Level.BURY,
    "VM.power_state_reset": Level.BURY,
    "agent:off": Level.CROWN,
    "pool.emergency_transition_to_master": Level.CROWN,
    "pool.recover_slaves": Level.CROWN,
    "pool.emergency_reset_master": Level.CROWN,
}
"""Every call that writes and that a run may send, and from which level on (I5: there are no others)."""
UNJUDGED = frozenset({"message.create", "pool.add_to_other_config", "pool.remove_from_other_config"})
"""Notes and the lease: they change nothing that runs."""
