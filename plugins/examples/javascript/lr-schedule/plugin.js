// Polynomial decay: from the base rate to the end rate over the epochs of a phase.
import { parameter, plugin } from "./incubate.js";

export const description = {
  describe: () => ({
    name: "poly",
    version: "0.1.0",
    summary: "Polynomial decay from the base rate to `end_rate`",
    parameters: [
      parameter("power", "Exponent of the decay; 1 is a line", "number", { default: 1, minimum: 0 }),
      parameter("end_rate", "The rate at the end of the phase", "number", { default: 0, minimum: 0 }),
    ],
  }),
};

export const schedule = plugin({
  stepping: () => "per-epoch",

  rate({ epoch, epochs, baseRate }) {
    const { power, end_rate: end } = this.settings;
    return end + (baseRate - end) * (1 - epoch / epochs) ** power;
  },

  observe() {},
});
