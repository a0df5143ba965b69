"""EDGE: what xenrec keeps on its own disk: locks, certificates, incidents, journals, the last known pool.

See folder.PoolFolder. Imports core only.
"""
