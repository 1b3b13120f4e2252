"""The tables of imagetool's commands, by topic."""
