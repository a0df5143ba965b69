"""xenrec: brings a XenServer or XCP-ng pool back to what its owners declared."""
