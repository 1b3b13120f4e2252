"""Every exception that this package raises on purpose.

::

    ImageServerError
    |- GobError                     bytes or values that gob cannot carry
    |  |- GobDecodeError            (is a DecodeError, too)
    |  '- GobTypeError              a value does not fit its declared type
    |- DecodeError                  malformed, truncated or over-long input
    |  |- GobDecodeError
    |  '- JsonDecodeError
    |- ProtocolError                the rules of SRPC
    |  |- LocalProtocolError        we broke them
    |  '- RemoteProtocolError       the peer broke them
    |     |- PeerClosed             it went away
    |     '- LimitExceeded          it took more than it may
    |        '- PeerTooSlow         ... time: it let a deadline pass
    |- ConnectionFailed             no usable connection to a server
    |- CallError                    the server answered a call with an error line
    |  '- MethodDenied              ... with "access to method denied"
    |- RequestError                 a request is refused; the text is for the client
    |  |- InvalidName               not a name for an image or a directory
    |  |- ImageExists
    |  |- ImageNotFound
    |  |- InvalidImage              the image contradicts itself
    |  '- AccessDenied              the user may not do this
    |- StoreError                   the files or the index let us down
    |  |- ObjectNotFound
    |  |- CorruptObject
    |  '- CorruptImage
    |- ReplicationError             something cannot be had from the master
    |  |- ReplicationRefused        ... and trying again does not help
    |  |  '- ObjectsMissing         ... since it lacks objects
    |  '- ReplicationStopped        ... since the session with it has ended
    |- CertificateError             a certificate that cannot be used
    |  '- KeyMismatch               a certificate and a key that are not a pair
    '- ConfigError                  the command line or a file it names is wrong

Errors are translated at the edges, once per edge: an SRPC error line, an HTTP
status, an exit code.
"""

from __future__ import annotations


class ImageServerError(Exception):
    """Root of all errors of this package."""


class GobError(ImageServerError):
    """Something that gob cannot carry."""


class DecodeError(ImageServerError):
    """The input is malformed, truncated, too long, or of another type.

    Attributes:
        in_step: whether it is known nevertheless where the input ends.
    """

    in_step = False


class GobDecodeError(GobError, DecodeError):
    """Input that is not the gob of what was asked for."""


class JsonDecodeError(DecodeError):
    """Input that is not the JSON of what was asked for."""


class GobTypeError(GobError):
    """A value does not fit the type that it is to be encoded as."""


class ProtocolError(ImageServerError):
    """The rules of SRPC were broken."""


class LocalProtocolError(ProtocolError):
    """This program broke the rules of SRPC."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the rules of SRPC."""


class PeerClosed(RemoteProtocolError):
    """The peer ended the connection."""


class LimitExceeded(RemoteProtocolError):
    """The peer took more than it may.

    Attributes:
        limit: the name of the limit, for metrics.
    """

    def __init__(self, limit: str, text: str) -> None:
        super().__init__(text)
        self.limit = limit


class PeerTooSlow(LimitExceeded):
    """The peer let a deadline pass."""


class ConnectionFailed(ImageServerError):
    """There is no usable connection to a server."""


class CallError(ImageServerError):
    """The server answered a call with an error line, which is the text."""


class MethodDenied(CallError):
    """The server does not permit the method to us.

    Attributes:
        method: ``Service.Method``; empty if that is not known.
    """

    def __init__(self, text: str, method: str = "") -> None:
        super().__init__(text)
        self.method = method


class RequestError(ImageServerError):
    """A request is refused; the text is meant for the client."""


class InvalidName(RequestError):
    """A name that no image or directory can have.

    Attributes:
        name: the offending name.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"invalid name: {name!r}: {reason}")
        self.name = name


class ImageExists(RequestError):
    """An image of that name is there already."""


class ImageNotFound(RequestError):
    """There is no image of that name."""


class InvalidImage(RequestError):
    """The image contradicts itself; the text names the path."""


class AccessDenied(RequestError):
    """The user may not do this."""


class StoreError(ImageServerError):
    """The files or the index did not do what was asked of them."""


class ObjectNotFound(StoreError):
    """There is no object with that hash.

    Attributes:
        hash_hex: the hash, 128 hexadecimal digits.
    """

    def __init__(self, hash_: bytes) -> None:
        self.hash_hex = hash_.hex()
        super().__init__(f"unknown object: {self.hash_hex}")


class CorruptObject(StoreError):
    """The file of an object does not hold the object.

    Attributes:
        hash_hex: the hash, 128 hexadecimal digits.
    """

    def __init__(self, hash_: bytes, reason: str) -> None:
        self.hash_hex = hash_.hex()
        super().__init__(f"corrupt object: {self.hash_hex}: {reason}")


class CorruptImage(StoreError):
    """The file of an image does not hold an image.

    Attributes:
        name: the name of the image.
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(f"corrupt image: {name}: {reason}")


class ReplicationError(ImageServerError):
    """Something cannot be had from the master."""


class ReplicationRefused(ReplicationError):
    """The master has to change something before this can be had."""


class ObjectsMissing(ReplicationRefused):
    """The master lacks objects of an image."""


class ReplicationStopped(ReplicationError):
    """The session with the master has ended."""

    def __init__(self) -> None:
        super().__init__("the session with the master has ended")


class CertificateError(ImageServerError):
    """A certificate, key or CA file that cannot be used."""


class KeyMismatch(CertificateError):
    """A certificate and a key that do not belong together."""


class ConfigError(ImageServerError):
    """The command line, or a file that it names, is wrong."""
