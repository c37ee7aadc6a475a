"""Text that stays where it lies, in object storage or on a shared disk, and is read in ranges."""
