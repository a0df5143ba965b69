"""The scenes of the training incidents: what whoever is on call knows when the telephone rings."""

from __future__ import annotations

SCENES = {
    "dead-master": """\
03:12. The monitoring says that six VMs are down, among them a database.
`xe` hangs, and so does Xen Orchestra: the pool's master, xen01, does not
answer, and without it the pool can't be managed. The VMs on the other hosts
run on.

A colleague who sits in the data centre writes that xen01 smells burnt. It
will not come back. It has a BMC, which answers.

Make the pool manageable again and start what was lost with xen01. What has
its disk on xen01 itself is lost until that is repaired; leave it.
""",
    "silent-bmc": """\
03:12. xen01, the master, does not answer, nor does its BMC: its whole power
strip is dead, or its switch is. The VMs on the other hosts run on. `xe`
hangs.

If xen01 lives behind a dead switch, its VMs are alive too, and starting
them again elsewhere destroys their disks. Nothing that a program can ask
will tell. You can: the data centre is ten minutes away, or a telephone
call. In this lab you look with

    xenrec lab power status xen01

Make the pool manageable again and start what was lost. xen01 will not come
back.
""",
    "green-pool": """\
08:40. An hour ago a switch failed. xen03 was not seen for a while, somebody
pressed `declare dead` and started its VMs on other hosts. Then the switch
was replaced.

Now every host is green in Xen Orchestra, and users complain: files vanish,
two machines answer at one address. xen03 has never been off.

Find out what really runs where (`xenrec lab running` shows what no client
of a pool can see), stop the damage, and get every VM to run once. Think
before you restart a toolstack: what does it do to a VM that its database
has elsewhere?
""",
    "hung-master": """\
10:05. `xe` and Xen Orchestra have been hanging for two minutes. All VMs
work, the users have noticed nothing. xen01, the master, answers pings, and
takes connections; but no call of its toolstack comes back.

A colleague has already opened the page about promoting another master. Is
that what this pool needs? Get it manageable again, with as little as
possible.

A toolstack is restarted with `xe-toolstack-restart` on its host, which in
this lab is

    xenrec lab toolstack restart HOST
""",
    "two-hosts": """\
04:30. A power distribution unit has failed: xen01 (the master) and xen03
are down. xen01's BMC hung on the same unit and is silent; xen03's answers.
The electrician is there, and confirms on the telephone that both hosts are
dark and stay so until noon. The file server with the ISO library hung on it
too.

Somebody made the pool's default storage a local disk of xen01 last week, by
mistake. One of the VMs that are down has a CD of the ISO library in its
drive. The manifest lets one run take care of one lost host, and there are
two.

Get the pool manageable, what can run running, and new disks to san-1 again.
Another client of the pool is at hand, for instance:

    xenrec lab do xo eject VM
""",
}
