"""Focal loss (Lin et al., 2017): cross-entropy that counts well classified pictures less."""

import incubate
from incubate import parameter
from wit_world.exports.loss import Features


class Description(incubate.Description):
    name = "focal"
    version = "0.1.0"
    summary = "Cross-entropy that counts well classified pictures less"
    parameters = [
        parameter(
            "gamma",
            "How much less a well classified picture counts; 0 is cross-entropy",
            "number",
            default=2.0,
            minimum=0.0,
        )
    ]


class Loss(incubate.Plugin):
    def needs(self):
        return Features(0)

    def compute(self, step, inputs):
        log_p = inputs.logits.log_softmax(1)
        # Where p rounds to 1, the slope of the power may be infinite; clamp makes it 0.
        weight = (1 - log_p.exp()).clamp(1e-6, 1.0) ** self.settings["gamma"]
        y = inputs.soft_targets or inputs.class_ids.one_hot(step.classes)
        return -(y * weight * log_p).sum([]) / step.pictures
