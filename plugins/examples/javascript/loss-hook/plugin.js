// Loss hook `focal`: the mean over the pictures of -sum_c y_c (1 - p_c)^gamma log p_c, where p is the
// softmax of the logits (Lin et al., 2017). The targets y are the soft targets when labels were mixed,
// else the one-hot class ids.
import { describe, parameter, plugin } from "./target/sdk/incubate.js";

export const description = describe(
  parameter("gamma", "How much less pictures weigh that are classified well; 0 is cross-entropy", "number", {
    default: 2,
    minimum: 0,
  }),
);

export const loss = plugin({
  needs: () => ({ networkFeatures: false, metaFeatures: false }),

  compute({ classes, pictures }, { logits, classIds, softTargets }) {
    const targets = softTargets ?? classIds.oneHot(classes);
    const logP = logits.logSoftmax(-1);
    // 1 - p is kept above 0, where the derivative of a power below 1 has no value.
    const miss = logP.exp().affine(-1, 1).clamp(1e-7, 1);
    const terms = targets.mul(miss.powf(this.settings.gamma)).mul(logP);
    return terms.sum([]).affine(-1 / pictures, 0);
  },
});
