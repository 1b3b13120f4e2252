"""Talking to an imageserver: the API that the tools and the replicator use."""
