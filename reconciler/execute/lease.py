"""Holding the pool's lease on the acting master: take, renew, check, give back (core/lease.py has the keys).

Why nobody else can hold it meanwhile: the holder always has a key in the map, for a renewal adds the next key before it
removes the last. Whoever comes adds a key and reads the map *again*: if another live key stands there, he takes his own
back and was too late. Of two that come at once at least one sees the other. A holder that slept past its end sees its
key replaced and stops.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from reconciler.core.lease import LIFETIME, RENEW_BELOW, Lease, clock_words, leases, make, next_generation, rival
from reconciler.core.port import Port, XapiFailure
from reconciler.execute.bench import CannotRecord
from reconciler.execute.desk import NULL, UNHEARD, Desk, LostReply, MasterLost, heard

ADD = "pool.add_to_other_config"
REMOVE = "pool.remove_from_other_config"
GOOD_FOR = 10.0
"""Seconds for which one look at the lease serves all writes."""
TRIES = 3


class LeaseLost(CannotRecord):
    """The pool is not ours to work on: as when the journal can't be written, nothing more may be done."""


class LeaseBusy(LeaseLost):
    """Another run holds the pool. `since` is UTC seconds, 0.0 when unknown; `clock` says by whose clock, if need be."""

    def __init__(self, holder: Lease, clock: str = "") -> None:
        super().__init__(f"another run is working on this pool: {holder}{f' ({clock})' if clock else ''}")
        self.holder = holder
        self.since = holder.since
        self.argument = "MANIFEST"
        """What names the manifest on a command line; who knows it says it here."""


class PoolLease:
    """The lease of one run. Nothing is sent before the first `hold`.

    `machine` names the state folder (state/folder.py), `run` and `by` are for people; `told` gets a line for the
    journal whenever the lease is taken, renewed or given back.
    """

    def __init__(
        self, port: Port, *, machine: str, run: str, by: str, pid: int, told: Callable[[str, Lease], None] | None = None
    ) -> None:
        self._port = port
        self._machine = machine
        self._run = run
        self._by = by
        self._pid = pid
        self._told = told or (lambda what, lease: None)
        self._mine: Lease | None = None
        self._at = ""
        self._since: float | None = None
        self._until = 0.0
        self._seen = 0.0

    @property
    def held(self) -> bool:
        """It was taken and not yet given back."""
        return self._mine is not None

    def hold(self, desk: Desk) -> None:
        """Make sure that the pool is ours for the next write: taken, read a moment ago, and far from its end.

        Raises LeaseBusy when another run holds it, LeaseLost when it is ours no more, and as Desk.write.
        """
        now = self._port.now()
        if self._mine is None or self._at != desk.address:
            self._mine = None
            self._claim(desk)
            return
        if not 0.0 <= self._until - now - RENEW_BELOW <= LIFETIME:
            self._claim(desk)
        elif not 0.0 <= now - self._seen < GOOD_FOR:
            if self._mine not in self._read(desk):
                raise self._gone()
            self._seen = now

    def keep(self, desk: Desk) -> None:
        """Renew it if it is held here and due; a master that can't be asked now is asked again next time.

        Raises LeaseLost.
        """
        if self._mine is None or self._at != desk.address or self._until - self._port.now() >= RENEW_BELOW:
            return
        with suppress(MasterLost, LostReply, XapiFailure):
            self._claim(desk)

    def release(self, desk: Desk) -> None:
        """Give it back: every key of this machine goes. Raises as Desk.write."""
        if self._mine is None:
            return
        mine, self._mine = self._mine, None
        for lease in self._read(desk):
            if lease.expires is not None and lease.machine == self._machine:
                self._remove(desk, lease)
        self._tell("released", mine)

    # --- claiming ----------------------------------------------------------------------------------------------

    def _claim(self, desk: Desk) -> None:
        """Take the lease, or renew it, with the next generation."""
        began = self._port.now()
        master = acting(desk)
        now = servertime(desk, began, master)
        since = self._since if self._since is not None else now
        for _ in range(TRIES):
            wanted = heard(lambda: self._try(desk, since, now, master))
            if wanted is not None:
                break
        else:
            raise LeaseLost("the pool's lease could not be taken: others take and leave it all the time")
        found = self._read(desk)
        try:
            if wanted not in found:
                raise self._gone()
            self._judge([one for one in found if one != wanted], now, master)
        except LeaseLost:
            with suppress(MasterLost, LostReply, XapiFailure):
                self._remove(desk, wanted)
            raise
        renewed = self._mine is not None
        self._mine, self._at, self._since = wanted, desk.address, since
        self._until, self._seen = began + LIFETIME, began
        self._tell("renewed" if renewed else "taken", wanted)
        for lease in found:
            old = lease.expires is not None and (lease.machine == self._machine or not lease.live(now, master))
            if old and lease != wanted:
                self._remove(desk, lease)

    def _try(self, desk: Desk, since: float, now: float, master: str) -> Lease | None:
        """Look who has it, and add the next key, once; None when somebody was faster."""
        found = self._read(desk)
        self._judge(found, now, master)
        wanted = make(
            next_generation(found),
            machine=self._machine,
            run=self._run,
            by=self._by,
            pid=self._pid,
            since=since,
            now=now,
            master=master,
        )
        return wanted if self._add(desk, wanted) else None

    def _judge(self, found: tuple[Lease, ...] | list[Lease], now: float, master: str) -> None:
        """Raise LeaseLost unless the lease in hand, if any, still stands, and no other live one does.

        Beside a live one in hand, others are of those who come: they read the map again, see it, and go.
        """
        if self._mine is not None and self._mine not in found:
            raise self._gone()
        if self._mine is not None and self._mine.live(now):
            return
        if other := rival(found, self._machine, now, master):
            raise LeaseBusy(other, clock_words(now, self._port.now()))

    def _add(self, desk: Desk, wanted: Lease) -> bool:
        """Add the key; False when somebody was faster. A lost answer is observed."""
        try:
            desk.write(ADD, desk.pool_ref, wanted.key, wanted.value)
        except LostReply:
            return wanted in self._read(desk)
        except XapiFailure as failure:
            if failure.code != "MAP_DUPLICATE_KEY":
                raise
            return False
        return True

    def _remove(self, desk: Desk, lease: Lease) -> None:
        """Remove a key; XAPI says nothing when it is gone already, so a lost answer is no trouble either."""
        with suppress(LostReply):
            _remove(desk, lease)

    def _read(self, desk: Desk) -> tuple[Lease, ...]:
        return read_leases(desk)

    def _tell(self, what: str, lease: Lease) -> None:
        try:
            self._told(what, lease)
        except OSError as error:
            raise CannotRecord(f"the journal cannot be written: {error}") from error

    def _gone(self) -> LeaseLost:
        self._mine = None
        return LeaseLost("this run's lease was released or taken over by somebody else while it worked")


def read_leases(desk: Desk) -> tuple[Lease, ...]:
    """Every lease in the pool now. Raises as Desk.read."""
    desk.session()
    told = desk.read("pool.get_other_config", desk.pool_ref)
    if not isinstance(told, dict):
        raise MasterLost(f"the master at {desk.address} does not tell its pool's other_config")
    return leases({str(key): str(value) for key, value in told.items()})


def remove_leases(desk: Desk) -> tuple[Lease, ...]:
    """Remove every lease, whosever it is: those removed. Raises as Desk.write."""
    found = read_leases(desk)
    for lease in found:
        _remove(desk, lease)
    return found


def _remove(desk: Desk, lease: Lease) -> None:
    """Remove that lease. Where the call was not executed it is looked up first: the key may be another's by now."""
    try:
        desk.write(REMOVE, desk.pool_ref, lease.key)
    except XapiFailure as failure:
        if failure.code not in UNHEARD:
            raise
        if lease in read_leases(desk):
            desk.write(REMOVE, desk.pool_ref, lease.key)


def acting(desk: Desk) -> str:
    """The ref of the host that answers as master, "" where it is not told: a master writes it down before its API can
    be reached (sheet §2.2)."""
    with suppress(XapiFailure):
        master = str(desk.pool().get("master", ""))
        return "" if master in NULL else master
    return ""


def servertime(desk: Desk, ours: float, master: str) -> float:
    """The acting master's clock in UTC seconds; ours where it can't be asked or read."""
    with suppress(XapiFailure):
        if master:
            told = str(desk.read("host.get_servertime", master))
            for form in ("%Y%m%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%SZ", "%Y%m%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%S.%fZ"):
                with suppress(ValueError):
                    return datetime.strptime(told, form).replace(tzinfo=UTC).timestamp()
    return ours
