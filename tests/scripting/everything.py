"""A schedule that uses everything that the SDK offers, and fails on request."""

from incubate import Plugin, describe, fault, parameter
from wit_world.exports.schedule import Interval
from wit_world.imports import log, metrics, random

ACTS = ["tell", "refuse", "crash"]

Description = describe(
    parameter("act", "What a rate does", "text", default="tell", choices=ACTS),
    parameter("flag", "A boolean", "boolean", default=False),
    parameter("count", "An integer", "integer", minimum=-5, maximum=5),
    parameter("spare", "A number that may be left out", "number", optional=True),
    parameter("integers", "Integers", "integers", default=[1, -2]),
    parameter("numbers", "Numbers", "numbers", default=[0.5, 2]),
    parameter("texts", "Texts", "texts", default=["ä", "b"]),
)


class Schedule(Plugin):
    asked = 0

    def stepping(self):
        return Interval.PER_UPDATE

    def rate(self, moment):
        settings = self.settings
        if settings["act"] == "refuse":
            raise fault("unsupported", "this is refused", "do not ask")
        if settings["act"] == "crash":
            return None.rate
        self.asked += 1
        metrics.record("asked", self.asked)
        told = [str(settings["flag"]).lower(), settings["count"], str("spare" in settings).lower()]
        for name in ["integers", "numbers", "texts"]:
            told += settings[name]
        log.write(log.Level.INFO, " ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in told))
        return random.uniform()

    def observe(self, moment, metrics):
        pass

    def save(self):
        return bytes([self.asked])

    def restore(self, state):
        self.asked = state[0]
