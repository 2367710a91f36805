// Focal loss (Lin et al., 2017): cross-entropy that counts well classified pictures less.
import { parameter, plugin } from "./incubate.js";

export const description = {
  describe: () => ({
    name: "focal",
    version: "0.1.0",
    summary: "Cross-entropy that counts well classified pictures less",
    parameters: [
      parameter("gamma", "How much less a well classified picture counts; 0 is cross-entropy", "number", {
        default: 2,
        minimum: 0,
      }),
    ],
  }),
};

export const loss = plugin({
  needs: () => ({ networkFeatures: false, metaFeatures: false }),

  compute({ classes, pictures }, { logits, classIds, softTargets }) {
    const logP = logits.logSoftmax(1);
    // Where p rounds to 1, the slope of the power may be infinite; clamp makes it 0.
    const weight = logP.exp().affine(-1, 1).clamp(1e-6, 1).powf(this.settings.gamma);
    const y = softTargets ?? classIds.oneHot(classes);
    return y.mul(weight).mul(logP).sum([]).affine(-1 / pictures, 0);
  },
});
