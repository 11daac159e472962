"""From one CSV into the table: inspect, align, stage, merge, verify, in one transaction."""
