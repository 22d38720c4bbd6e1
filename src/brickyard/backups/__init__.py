"""Backups: the content of a brick, kept elsewhere in chunks that are compressed and checked. See `copying`."""
