// Partition scheme `front-light`: n / K blocks for every module; the remainder, one each, to the last
// modules, so that the first ones are the light ones.
import { describe, Fault, parameter, plugin } from "./target/sdk/incubate.js";

export const description = describe(
  parameter("meta_depth", "Blocks of every meta module", "integer", { default: 1, minimum: 1 }),
);

export const partition = plugin({
  divide({ blocks, modules }) {
    const meta = this.settings.meta_depth;
    if (modules === 0 || modules > blocks.length) {
      throw new Fault(
        "invalid-input",
        `${modules} modules cannot divide ${blocks.length} blocks`,
        "take from 1 module to as many as there are blocks",
      );
    }
    const depth = Math.floor(blocks.length / modules);
    // The first module is the shallowest.
    if (meta > depth) {
      throw new Fault(
        "invalid-input",
        `\`meta_depth\` is ${meta}, and a target module has ${depth} blocks`,
        "take a smaller `meta_depth` or fewer modules",
      );
    }
    const light = modules - (blocks.length % modules);
    return Array.from({ length: modules }, (_, module) => ({ target: module < light ? depth : depth + 1, meta }));
  },
});
