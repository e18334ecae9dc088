"""Errors of a connection to NATS."""


class NatsError(Exception):
    """Base of the errors of a connection to NATS: a wrong address, or a file that cannot be read."""


class NatsUnreachable(NatsError):
    """No server answered."""


class NatsRefused(NatsError):
    """The server refused the credentials, or the certificate of one side was refused."""


class NoJetStream(NatsError):
    """The server runs without JetStream, or this account may not use it."""


class OtherRevision(NatsError):
    """A key has another revision than the one that was to be replaced."""
