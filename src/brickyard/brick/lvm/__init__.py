"""Logical volumes of LVM as bricks: thick, and thin out of a pool; and the volume groups that they lie in."""
