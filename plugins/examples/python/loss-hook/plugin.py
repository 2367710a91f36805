"""Loss hook `focal`: the mean over the pictures of -sum_c y_c (1 - p_c)^gamma log p_c, where p is the
softmax of the logits (Lin et al., 2017). The targets y are the soft targets when labels were mixed,
else the one-hot class ids."""

from incubate import Plugin, describe, parameter
from wit_world.exports.loss import Features

Description = describe(
    parameter(
        "gamma",
        "How much less pictures weigh that are classified well; 0 is cross-entropy",
        "number",
        default=2.0,
        minimum=0.0,
    )
)


class Loss(Plugin):
    def needs(self):
        return Features(0)

    def compute(self, step, inputs):
        targets = inputs.soft_targets or inputs.class_ids.one_hot(step.classes)
        log_p = inputs.logits.log_softmax(-1)
        # 1 - p is kept above 0, where the derivative of a power below 1 has no value.
        miss = (1 - log_p.exp()).clamp(1e-7, 1.0)
        terms = targets * miss ** self.settings["gamma"] * log_p
        return -terms.sum([]) / step.pictures
