"""The property test of the load: random tables and snapshots, and an oracle that shares no code with the product."""
