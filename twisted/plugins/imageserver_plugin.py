"""Makes ``twistd imageserver`` known."""

from twisted.application.service import ServiceMaker

image_server = ServiceMaker(
    "imageserver",
    "imageserver.daemon",
    "Stores file-system images and serves them to a fleet of machines",
    "imageserver",
)
