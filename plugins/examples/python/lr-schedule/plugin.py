"""Learning-rate schedule `poly`: end_rate + (base_rate - end_rate) * (1 - epoch / epochs)^power."""

from incubate import Plugin, describe, parameter
from wit_world.exports.schedule import Interval

Description = describe(
    parameter("power", "The power of the decay; 1 is a straight line", "number", default=1.0, minimum=0.0),
    parameter("end_rate", "The rate at the end of the phase", "number", default=0.0, minimum=0.0),
)


class Schedule(Plugin):
    def stepping(self):
        return Interval.PER_EPOCH

    def rate(self, moment):
        end_rate = self.settings["end_rate"]
        remaining = 1 - moment.epoch / moment.epochs
        return end_rate + (moment.base_rate - end_rate) * remaining ** self.settings["power"]

    def observe(self, moment, metrics):
        pass
