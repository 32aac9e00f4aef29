"""Raw files, ids, snapshots, and arrays of pairs."""
