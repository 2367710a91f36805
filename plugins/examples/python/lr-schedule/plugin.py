"""Polynomial decay: from the base rate to the end rate over the epochs of a phase."""

import incubate
from incubate import parameter
from wit_world.exports.schedule import Interval


class Description(incubate.Description):
    name = "poly"
    version = "0.1.0"
    summary = "Polynomial decay from the base rate to `end_rate`"
    parameters = [
        parameter("power", "Exponent of the decay; 1 is a line", "number", default=1.0, minimum=0.0),
        parameter("end_rate", "The rate at the end of the phase", "number", default=0.0, minimum=0.0),
    ]


class Schedule(incubate.Plugin):
    def stepping(self):
        return Interval.PER_EPOCH

    def rate(self, moment):
        end = self.settings["end_rate"]
        left = 1 - moment.epoch / moment.epochs
        return end + (moment.base_rate - end) * left ** self.settings["power"]

    def observe(self, moment, metrics):
        pass
