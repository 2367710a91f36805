// Equal modules; the blocks that are left over go, one each, to the last ones.
import { Fault, parameter, plugin } from "./incubate.js";

export const description = {
  describe: () => ({
    name: "front-light",
    version: "0.1.0",
    summary: "Equal modules; the remainder goes, one block each, to the last ones",
    parameters: [parameter("meta_depth", "Blocks of every meta module", "integer", { default: 1, minimum: 1 })],
  }),
};

export const partition = plugin({
  divide({ blocks, modules }) {
    const meta = this.settings.meta_depth;
    if (modules < 1 || modules > blocks.length) {
      throw new Fault(
        "invalid-input",
        `${blocks.length} blocks cannot be divided into ${modules} modules`,
        `choose from 1 to ${blocks.length} modules`,
      );
    }
    const depth = Math.floor(blocks.length / modules);
    const firstDeep = modules - (blocks.length % modules);
    if (meta > depth) {
      throw new Fault(
        "invalid-input",
        `meta_depth is ${meta}, and the first module has only ${depth} blocks`,
        "lower meta_depth or the number of modules",
      );
    }
    return Array.from({ length: modules }, (_, index) => ({
      target: index < firstDeep ? depth : depth + 1,
      meta,
    }));
  },
});
