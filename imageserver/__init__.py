"""An imageserver: stores file-system images and objects, and serves them."""

__version__ = "0.1.0"
