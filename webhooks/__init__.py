"""A small web service that turns S3's notifications into Prefect events, so that a snapshot starts its load."""
