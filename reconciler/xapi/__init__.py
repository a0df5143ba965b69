"""EDGE: XAPI on the wire: transport, sessions, bulk reads, tasks, saved snapshots. The only importer of XenAPI."""
