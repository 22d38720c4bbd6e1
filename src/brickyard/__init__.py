"""Brickyard: block storage for disks that sit next to the work."""
