"""How long things take, and which release's manners the lab has."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Release(Enum):
    """A toolstack's manners.

    V24_16: as recorded (recordings 03, 11): after a master start every other host is live=false at once; a member of
    a dead master never shows emergency mode, not even when its toolstack restarts.
    CLASSIC: as the source of other releases reads (sheet §1.2, §3.1): after a master start every host is live=true for
    `assumed_dead` seconds; a member enters emergency mode when its toolstack restarts without a master, and one that
    loses its master restarts its toolstack after `lost_master` seconds.
    """

    V24_16 = "24.16"
    CLASSIC = "classic"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. Defaults: XAPI's own constants (sheet §14) and what the recordings show of the rest."""

    latency: float = 0.001
    """One way over the network."""
    call: float = 0.001
    login: float = 0.005
    bad_password: float = 1.6
    """PAM's answer to a wrong password (recordings 02, 03)."""
    no_route: float = 3.0
    """Connecting to a host without power on the same LAN, or over a cut link, until "no route to host"."""
    probe: float = 10.0
    """A master's connect time-out when it asks whether a host is alive (recording 06)."""
    forward_connect: float = 4.5
    forward_pause: float = 10.0
    forward_attempts: int = 10
    """Ten attempts of about 14.5 s to reach a host that is live=true (recordings 06, 11)."""
    fuse: float = 10.0
    """xapi.conf fuse_time."""
    fuse_min: float = 5.0
    """From the end of saving RRDs, which the call waits for, at least so long; with it `fuse` in all (recordings 03,
    05, 11, 13: exit 5 s after a call that took 0.1 to 4 s, 10 s after the call with the default)."""
    promote_call: float = 0.1
    promote_call_lost: float = 2.6
    """emergency_transition_to_master beside a living master, and with a dead one (recordings 17, 03)."""
    supervisor: float = 0.5
    """From the exit of xapi until its supervisor starts it again."""
    host_boot: float = 1.5
    """From power until the host answers the network (a stand-in's boot: real hardware takes minutes)."""
    services: float = 1.0
    """From then until the supervisor starts the toolstack."""
    tls_restart: float = 1.5
    """How long port 443 refuses while a starting xapi restarts stunnel (recordings 09, 14, 15)."""
    blocked_long: float = 15.0
    blocked_start: float = 10.0
    """A member whose start had to wait for its database longer than the one starts again so long after it came
    (recording 13; after a shorter wait it goes on: recordings 02, 09)."""
    member_api: float = 1.5
    master_api: float = 3.0
    """From the start of xapi until its API answers."""
    member_hello: float = 6.5
    """From a member's API until its hello to the master (recordings 04, 10, 15)."""
    emergency_flash: float = 0.2
    """How long a starting member shows real emergency mode before its hello (recordings 09, 19)."""
    member_enable: float = 1.4
    """From the hello until the member has resynchronised its VMs and is enabled."""
    member_reconnect: float = 5.6
    """A running member after its master's xapi restarted, until it is live and enabled again (recordings 15, 21)."""
    heal_reconnect: float = 30.0
    """A running member after its link came back: live=true, and nothing else (recording 07)."""
    db_reconnect: float = 2.0
    """Until a database call that hung goes on once the master is back."""
    master_check: float = 0.3
    """From a master's API until it looks for other masters."""
    ask_member: float = 0.05
    master_storage: float = 4.0
    master_enable: float = 1.9
    """A new master's storage, and from there until it is enabled (recordings 03, 11)."""
    master_again: float = 0.6
    """Both together for one that was master before (recordings 15, 21)."""
    repoint: float = 3.5
    """emergency_reset_master on a running member that really changes its master (recordings 09, 13)."""
    repoint_stuck: float = 4.8
    """The same on a member that waits for a dead master: 4.7 to 9 s (recordings 05, 08, 11, 14, 18)."""
    repoint_stuck_saving: float = 3.0
    """How much of it passes before its fuse burns: such a member exits 6 to 12 s after it was told."""
    repoint_same: float = 0.1
    heartbeat: float = 30.0
    assumed_dead: float = 600.0
    gc: float = 30.0
    db_sync: float = 300.0
    """Per member, one after the other."""
    db_flush: float = 2.0
    """A master's own database file lags at most so far behind."""
    lost_master: float = 60.0
    """CLASSIC only: from the loss of the master until a member's toolstack restarts."""
    handshake_retry: float = 5.0
    unknown_retry: float = 15.0
    """A member whom its master does not know fails and restarts (recording 16)."""
    broken_retry: float = 2.5
    broken_shown: float = 120.0
    """A host whose role file is broken, until its xapi starts again: at once (recording 12), or, where it shows
    HOST_BROKEN, after 60 to 180 s (sheet §1.2)."""
    backup_fetch: float = 0.05
    vm_start: float = 2.0
    vm_stop: float = 1.0
    vm_clean_shutdown: float = 5.0
    vm_reboot: float = 5.0
    vm_suspend: float = 3.0
    vm_resume: float = 2.5
    vm_migrate: float = 5.0
    vm_switch: float = 0.3
    """The end of a migration, when the domain is suspended and its last pages go over."""
    guest_tools: float = 0.5
    """From the start of a domain until its guest tools report."""
    sr_plug: float = 0.3
    event_batch: float = 0.05
    event_late: float = 0.5
    """An event.from with nothing to say answers so much after its timeout (recording 01)."""
    retry_min: float = 1.0
    retry_max: float = 20.0
    retry_total: float = 7200.0
    """with_vm_operation's wait for another operation on the same VM."""
    vbd_retry: float = 120.0
    evacuate_batch: int = 10
    task_kept: float = 3900.0
    max_tasks: int = 200
    """Finished tasks beyond these are trimmed, the oldest first."""
    session_idle: float = 86400.0
    sessions_per_originator: int = 500

    @classmethod
    def fast(cls) -> Timing:
        """For a served pool that a person looks at: a promotion and a rejoin take about two seconds each."""
        return cls(
            fuse=0.5,
            fuse_min=0.4,
            promote_call_lost=0.2,
            supervisor=0.1,
            host_boot=0.8,
            services=0.2,
            tls_restart=0.1,
            blocked_start=0.5,
            member_api=0.3,
            master_api=1.0,
            member_hello=0.4,
            member_enable=0.3,
            member_reconnect=0.8,
            heal_reconnect=2.0,
            db_reconnect=0.2,
            no_route=0.3,
            probe=1.0,
            forward_connect=0.4,
            forward_pause=1.0,
            master_check=0.2,
            master_storage=0.4,
            master_enable=0.3,
            master_again=0.2,
            repoint=0.4,
            repoint_stuck=0.4,
            repoint_stuck_saving=0.2,
            bad_password=0.4,
            heartbeat=3.0,
            assumed_dead=60.0,
            gc=3.0,
            db_sync=10.0,
            lost_master=10.0,
            handshake_retry=1.0,
            unknown_retry=2.0,
            broken_shown=20.0,
            vm_start=0.4,
            vm_stop=0.2,
            vm_clean_shutdown=0.6,
            vm_reboot=0.6,
            vm_suspend=0.4,
            vm_resume=0.4,
            vm_migrate=0.6,
            vm_switch=0.1,
            guest_tools=0.2,
            sr_plug=0.1,
            event_late=0.1,
        )
