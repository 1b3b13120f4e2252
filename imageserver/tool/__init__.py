"""The commands: ``imagetool``, ``objecttool`` and ``imageserver-cert``."""
